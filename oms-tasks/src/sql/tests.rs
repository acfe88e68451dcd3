use std::collections::BTreeSet;

use oms_engine::testkit::TestDatabase;

use super::ALL;

#[tokio::test]
async fn every_statement_prepares_on_the_migrated_tables() {
    let database = TestDatabase::empty().await.unwrap();
    let mut client = database.connect().await.unwrap();
    crate::migrate(&mut client).await.unwrap();
    for statement in ALL {
        if let Err(error) = client.prepare(statement.text).await {
            panic!("{}: {error:?}", statement.name);
        }
    }
}

#[test]
fn every_file_is_loaded_and_tells_its_contract() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_suffix(".sql").map(str::to_owned)
        })
        .collect();
    let loaded: BTreeSet<String> = ALL.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(files, loaded);
    for statement in ALL {
        assert!(statement.text.starts_with(&format!("-- {}: ", statement.name)));
        assert!(statement.text.contains("Out:"), "{} does not say its result", statement.name);
    }
}
