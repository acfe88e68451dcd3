//! Test databases on the server that all tests share.

use std::sync::atomic::{AtomicU32, Ordering};

use oms_engine::testkit::{TestDatabase, TestkitError};
use sha2::{Digest, Sha256};

use super::program::Launch;
use super::{PATIENCE, text};

async fn exists(name: &str) -> bool {
    let here = TestDatabase::empty().await.unwrap();
    let sql = format!("SELECT count(*)::text FROM pg_database WHERE datname = '{name}'");
    text(&here.connect().await.unwrap(), &sql).await == "1"
}

#[tokio::test]
async fn each_test_has_a_clone_of_the_template() {
    let fill = async |client: &tokio_postgres::Client| {
        client.batch_execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('template')").await
    };
    let one = TestDatabase::create("clone", fill).await.unwrap();
    let two = TestDatabase::create("clone", fill).await.unwrap();
    let client = one.connect().await.unwrap();
    client.batch_execute("UPDATE t SET a = 'one'").await.unwrap();
    let other = two.connect().await.unwrap();
    assert_eq!(text(&other, "SELECT a FROM t").await, "template");
}

#[tokio::test]
async fn a_template_is_filled_once() {
    let key = format!("once {}", std::process::id());
    let filled = AtomicU32::new(0);
    let make = || {
        TestDatabase::create(&key, async |client: &tokio_postgres::Client| {
            filled.fetch_add(1, Ordering::SeqCst);
            client.batch_execute("CREATE TABLE t (a text)").await
        })
    };
    let (a, b, c) = tokio::join!(make(), make(), make());
    let names = [a.unwrap(), b.unwrap(), c.unwrap()].map(|made| made.name().to_owned());
    assert_eq!(filled.load(Ordering::SeqCst), 1);
    assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
}

#[tokio::test]
async fn a_template_that_could_not_be_filled_is_filled_by_the_next() {
    let key = format!("fails {}", std::process::id());
    let error = TestDatabase::create(&key, async |client: &tokio_postgres::Client| {
        client.batch_execute("CREATE TABLE t (a text)").await?;
        client.batch_execute("SELECT nonsense").await
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, TestkitError::Fill { .. }), "{error}");
    let database = TestDatabase::create(&key, async |client: &tokio_postgres::Client| {
        client.batch_execute("CREATE TABLE t (a text)").await
    });
    drop(database.await.unwrap());
}

#[tokio::test]
async fn a_database_is_dropped_with_its_handle() {
    let database = TestDatabase::empty().await.unwrap();
    let name = database.name().to_owned();
    assert!(exists(&name).await);
    drop(database);
    let gone = async { while exists(&name).await {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_test_left_is_dropped_by_the_next_process() {
    let mut killed = Launch::test_database().start();
    let url = killed.outcome().unwrap();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    assert!(exists(&name).await);
    killed.kill();
    // The lock of a killed process goes when the server notices that its connection broke.
    let gone = async {
        while exists(&name).await {
            Launch::test_database().start().outcome().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_template_of_last_week_is_dropped_by_the_next_process() {
    let key = format!("old {}", std::process::id());
    let made = TestDatabase::create(&key, async |client: &tokio_postgres::Client| {
        client.batch_execute("CREATE TABLE t (a text)").await
    });
    let made = made.await.unwrap();
    let digest = Sha256::digest(key.as_bytes());
    let digits: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let template = format!("oms_tpl_{digits}");
    let client = made.connect().await.unwrap();
    Launch::test_database().start().outcome().unwrap();
    assert!(exists(&template).await);

    let aged = format!(
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE {template} IS %L',
         extract(epoch FROM now() - interval '8 days')::bigint); END $$"
    );
    client.batch_execute(&aged).await.unwrap();
    Launch::test_database().start().outcome().unwrap();
    assert!(!exists(&template).await);
}
