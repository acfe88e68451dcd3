//! Servers that programs start, share and leave behind.

use oms_engine::testkit::TestDatabase;

#[tokio::test]
async fn each_test_has_a_clone_of_the_template() {
    let fill = async |client: &tokio_postgres::Client| {
        client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (7)").await
    };
    let one = TestDatabase::create("clone", fill).await.unwrap();
    let two = TestDatabase::create("clone", fill).await.unwrap();
    let client = one.connect().await.unwrap();
    client.batch_execute("UPDATE t SET a = 8").await.unwrap();
    let row = two.connect().await.unwrap().query_one("SELECT a FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
}
