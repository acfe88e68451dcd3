//! Conformance: cases as data, see README.md in this folder.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program"
)]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod nested;
mod outside;
mod play;
mod stage;
#[path = "../common/stand_in.rs"]
mod stand_in;
mod steps;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use oms_engine::testkit::TestDatabase;
use tokio::task::JoinSet;

/// Cases that are played at once.
const AT_ONCE: usize = 6;

#[test]
fn every_case_has_a_name_of_its_own_and_says_which_rule_it_comes_from() {
    let cases = case::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        assert!(!case.rule.is_empty(), "{}", case.name);
        assert!(case.expect.is_some() != case.refused.is_some(), "{}: one of the two", case.name);
    }
}

/// What the cases before have left goes, so that one database does for many: to make and to drop
/// one takes longer than to play a case.
const CLEAR: &str = "DO $$ BEGIN EXECUTE (
    SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ')
    FROM pg_tables WHERE schemaname = 'oms_engine' AND tablename NOT IN ('migrations', 'meta')
); END $$";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_gives_what_every_case_expects() {
    let cases = case::all();
    println!("{} cases", cases.len());
    play_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_runs_tasks_in_each_other_as_deep_as_they_may_be() {
    play_all(nested::cases()).await;
}

async fn play_all(cases: Vec<case::Case>) {
    let played = cases.len();
    let waiting = Arc::new(Mutex::new(cases));
    let mut players = JoinSet::new();
    for _ in 0..AT_ONCE {
        let waiting = waiting.clone();
        players.spawn(async move {
            let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
            let client = database.connect().await.unwrap();
            let mut wrong = Vec::new();
            loop {
                let Some(case) = waiting.lock().unwrap().pop() else { return wrong };
                let name = case.name.clone();
                // The engine of the case before may still say that it leaves.
                while let Err(error) = client.batch_execute(CLEAR).await {
                    let code = error.code().unwrap_or_else(|| panic!("{error}"));
                    assert_eq!(code.code(), "40P01", "{error}");
                }
                // A case that panics is told by its name, too.
                let playing = tokio::spawn(play::play(database.url().to_owned(), case));
                match playing.await {
                    Ok(Ok(())) => {}
                    Ok(Err(what)) => wrong.push(format!("{name}: {what}")),
                    Err(panic) => wrong.push(format!("{name}: {panic}")),
                }
            }
        });
    }
    let mut wrong = Vec::new();
    while let Some(found) = players.join_next().await {
        wrong.extend(found.unwrap());
    }
    assert!(wrong.is_empty(), "{} of {played} cases:\n{}", wrong.len(), wrong.join("\n\n"));
}
