//! A database with runs in every state is upgraded and goes on. There is a dump for each version of the
//! tables that was ever released, and one that today's engine makes.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "../common/mod.rs"]
mod common;

mod dump;
mod states;

use std::path::PathBuf;

use oms_engine::testkit::TestDatabase;

use crate::dump::Dump;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upgrade/dumps"))
}

/// Makes the tables as they were, fills them, and has a new engine bring all to its end.
async fn goes_on(dump: &Dump) {
    let database = TestDatabase::empty().await.unwrap();
    let client = database.connect().await.unwrap();
    dump.load(&client).await;
    states::finish(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_every_state_go_on_after_an_upgrade_from_each_version_of_the_tables() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no dump in {}", folder().display());
    for file in files {
        let dump = Dump::read(&file);
        println!("{}: tables of version {}", file.display(), dump.version());
        states::assert_every_state(&dump);
        goes_on(&dump).await;
    }
}

/// With `OMS_WRITE_DUMP` set it is kept, for the versions to come.
#[tokio::test(flavor = "multi_thread")]
async fn runs_in_every_state_go_on_in_a_copy_of_their_database() {
    let database = common::database().await;
    let dump = states::make(&database).await;
    if std::env::var_os("OMS_WRITE_DUMP").is_some() {
        states::assert_every_state(&dump);
        dump.write(&folder().join(format!("{:04}.json", dump.version())));
    }
    goes_on(&dump).await;
}
