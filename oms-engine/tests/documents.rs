//! What ARCHITECTURE.md tells operators to type.

mod common;

use common::database;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");

#[tokio::test]
async fn every_query_for_operators_runs() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let text = std::fs::read_to_string(FILE).unwrap();
    let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let queries: Vec<&str> = blocks
        .flat_map(|(block, _)| block.split(';'))
        .map(str::trim)
        .filter(|query| !query.is_empty())
        .collect();
    assert_eq!(queries.len(), 4);
    for query in queries {
        if let Err(error) = client.query(query, &[]).await {
            panic!("{query}: {error:?}");
        }
    }
}
