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
mod play;
mod stage;
#[path = "../common/stand_in.rs"]
mod stand_in;
mod steps;

use std::collections::BTreeSet;

use case::Case;
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

#[tokio::test(flavor = "multi_thread")]
async fn postgres_gives_what_every_case_expects() {
    let mut waiting: Vec<Case> = case::all();
    let (mut playing, mut wrong, mut played) = (JoinSet::new(), Vec::new(), 0);
    loop {
        while playing.len() < AT_ONCE
            && let Some(case) = waiting.pop()
        {
            playing.spawn(async move { (case.name.clone(), play::play(case).await) });
        }
        let Some(done) = playing.join_next().await else { break };
        played += 1;
        match done {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(what))) => wrong.push(format!("{name}: {what}")),
            Err(panic) => wrong.push(panic.to_string()),
        }
    }
    println!("{played} cases");
    assert!(wrong.is_empty(), "{} of {played} cases:\n{}", wrong.len(), wrong.join("\n\n"));
}
