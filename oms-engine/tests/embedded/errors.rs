//! What is said when there is no PostgreSQL, word for word.

use oms_engine::embedded::{EmbeddedError, Postgres};

use super::Scratch;
use super::program::Launch;

#[test]
fn without_any_server_the_error_says_where_was_looked_and_what_to_do() {
    let scratch = Scratch::new("none");
    let launch = Launch::kept(&scratch.path().join("data"))
        .env("OMS_POSTGRES_LOCAL", "never")
        .env("OMS_POSTGRES_DOWNLOAD", "never")
        .env("XDG_CACHE_HOME", scratch.path());
    let cache = scratch.path().join("oms-engine");
    let expected = format!(
        "no PostgreSQL to run on.
  DATABASE_URL is not set, and no PostgreSQL server programs (initdb, postgres) were found in:
    OMS_POSTGRES_BIN (not set), pg_config --bindir (hidden by OMS_POSTGRES_LOCAL=never), \
PATH (hidden by OMS_POSTGRES_LOCAL=never), /usr/lib/postgresql/*/bin (hidden by OMS_POSTGRES_LOCAL=never), \
/usr/pgsql-*/bin (hidden by OMS_POSTGRES_LOCAL=never), /opt/homebrew/opt/postgresql@*/bin (hidden by OMS_POSTGRES_LOCAL=never), \
/usr/local/opt/postgresql@*/bin (hidden by OMS_POSTGRES_LOCAL=never), \
/Applications/Postgres.app/Contents/Versions/*/bin (hidden by OMS_POSTGRES_LOCAL=never), {}
  Do one of these:
    export DATABASE_URL=postgres://user:password@host:5432/dbname
    install a server:  apt-get install postgresql  |  brew install postgresql@17  |  dnf install postgresql-server
    or let this program download one (about 15 MB, once): unset OMS_POSTGRES_DOWNLOAD; the last attempt said: OMS_POSTGRES_DOWNLOAD=never",
        cache.display()
    );
    assert_eq!(launch.start().outcome().unwrap_err(), expected);
}

#[test]
fn a_named_directory_without_a_server_is_an_error() {
    let scratch = Scratch::new("bin");
    let launch = Launch::kept(scratch.path()).env("OMS_POSTGRES_BIN", scratch.path());
    let expected = format!(
        "OMS_POSTGRES_BIN is {}, which has no initdb\n  \
         Set it to the directory that holds initdb, pg_ctl and postgres, or unset it.",
        scratch.path().display()
    );
    assert_eq!(launch.start().outcome().unwrap_err(), expected);
}

#[test]
fn without_another_user_root_is_told_so() {
    let error = EmbeddedError::Root { reason: "\"postgres\": no such user".to_owned() };
    assert_eq!(
        error.to_string(),
        "PostgreSQL refuses to run as root, and no unprivileged user (\"postgres\", then \
         \"nobody\") could be used: \"postgres\": no such user.\n  \
         Run this as another user, or set DATABASE_URL."
    );
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_quoted_from_its_log() {
    let scratch = Scratch::new("conf");
    let started =
        Postgres::builder().kept_in(scratch.path()).setting("shared_buffers", "much").start();
    let error = started.await.unwrap_err().to_string();
    assert!(error.contains("did not start in"), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\": \"much\""), "{error}");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_an_error_that_names_it() {
    let scratch = Scratch::new("file");
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Postgres::builder().kept_in(&file).start().await.unwrap_err().to_string();
    let start = format!("cannot keep a PostgreSQL server in {}", file.display());
    assert!(error.starts_with(&start), "{error}");
}
