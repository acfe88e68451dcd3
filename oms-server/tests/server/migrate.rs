//! `oms migrate`, and `oms server` without a database.

use oms_engine::testkit::TestDatabase;
use serde_json::{Value, json};

use crate::command::{oms, oms_with};

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_and_their_state_is_told() {
    let database = TestDatabase::empty().await.unwrap();
    let migrate = |arguments: &[&str]| {
        let arguments = [&["--json", "migrate", "--schema", "other"], arguments].concat();
        oms_with(&arguments, "", &[("DATABASE_URL", database.url())])
    };
    let due = |said: Value| {
        let all = said.as_array().unwrap().clone();
        all.iter().filter(|migration| migration["appliedAt"].is_null()).count()
    };
    let all = due(migrate(&["status"]).expect(7).json());
    assert!(all >= 13);
    let applied = migrate(&["up"]).expect(0).json();
    assert_eq!(applied["applied"].as_array().unwrap().len(), all);
    assert_eq!(migrate(&["up"]).expect(0).json(), json!({"applied": []}));
    assert_eq!(due(migrate(&["status"]).expect(0).json()), 0);
    let printed = oms(&["migrate", "print", "--schema", "mine"]).expect(0).out;
    assert!(printed.contains(r#"CREATE TABLE "mine".workflows"#));
    let roles = ["migrate", "roles", "--schema", "mine", "--application", "shop"];
    let printed = oms(&roles).expect(0).out;
    assert!(printed.contains(r#"GRANT USAGE ON SCHEMA "mine" TO "shop""#), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_had_is_told_without_its_password() {
    let url = "postgres://me:sesame@127.0.0.1:1/x";
    for command in [&["migrate", "status"][..], &["server", "--port", "0"]] {
        let variables = [("DATABASE_URL", url), ("RUST_LOG", "debug")];
        let said = oms_with(command, "", &variables).expect(6);
        assert!(said.err.contains("cannot connect to PostgreSQL at 127.0.0.1:1/x"), "{said:?}");
        assert!(!said.err.contains("sesame") && !said.out.contains("sesame"), "{said:?}");
    }
    let wrong = "postgres://me:sesame@[";
    let said = oms(&["migrate", "status", "--database-url", wrong]).expect(4);
    assert!(!said.err.contains("sesame"), "{said:?}");
    let schema = oms(&["migrate", "print", "--schema", "no no"]).expect(4);
    assert!(schema.err.contains("schema name"), "{schema:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_says_what_is_wrong_and_what_to_do() {
    let database = TestDatabase::empty().await.unwrap();
    let doctor = |arguments: &[&str]| {
        oms_with(&[&["doctor"], arguments].concat(), "", &[("DATABASE_URL", database.url())])
    };
    let said = doctor(&["--json"]).expect(7).json();
    let schema = said.as_array().unwrap().iter().find(|found| found["kind"] == json!("schema"));
    assert!(schema.is_some_and(|found| found["severity"] == json!("FAULT")), "{said}");
    let said = doctor(&[]).expect(7);
    assert!(
        said.out.contains("FAULT\tschema\t") && said.out.contains("oms migrate up"),
        "{said:?}"
    );
}
