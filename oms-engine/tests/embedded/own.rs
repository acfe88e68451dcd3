//! Servers of tests that stop PostgreSQL.

use oms_engine::embedded::{Postgres, Progress};
use oms_engine::testkit::OwnPostgres;

use super::program::Launch;
use super::{connect, text, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_comes_back_under_its_url_after_every_kind_of_end() {
    let mut own = OwnPostgres::create().await.unwrap();
    let url = own.url().to_owned();
    let client = connect(&url).await;
    client.batch_execute("CREATE TABLE t (a int)").await.unwrap();

    client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    own.stop_immediate().await.unwrap();
    assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
    own.start().await.unwrap();

    let client = connect(&url).await;
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    own.kill_postmaster().unwrap();
    own.start().await.unwrap();

    let client = connect(&url).await;
    client.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    own.kill_backend(pid).unwrap();
    wait_until("the connection breaks", || client.is_closed());
    own.start().await.unwrap();

    assert_eq!(own.url(), url);
    let client = connect(&url).await;
    assert_eq!(text(&client, "SELECT string_agg(a::text, ',' ORDER BY a) FROM t").await, "1,2,3");
}

#[tokio::test]
async fn what_goes_on_is_reported_once_per_step() {
    let (report, reports) = std::sync::mpsc::channel();
    let started = Postgres::builder()
        .throwaway()
        .on_progress(move |progress| report.send(progress).unwrap())
        .start();
    drop(started.await.unwrap());
    assert_eq!(reports.iter().collect::<Vec<_>>(), [Progress::Initializing]);
}

#[tokio::test]
async fn a_thrown_away_server_leaves_nothing() {
    let server = Postgres::builder().throwaway().start().await.unwrap();
    let folder = server.folder().to_owned();
    assert!(folder.join("data").exists());
    drop(server);
    wait_until("its folder is gone", || !folder.exists());
}

#[tokio::test]
async fn a_thrown_away_server_leaves_nothing_when_its_program_is_killed() {
    let mut program = Launch::throwaway().start();
    let url = program.outcome().unwrap();
    let data = text(&connect(&url).await, "SHOW data_directory").await;
    let folder = std::path::Path::new(&data).parent().unwrap();
    assert!(folder.exists());
    program.kill();
    wait_until("its folder is gone", || !folder.exists());
}
