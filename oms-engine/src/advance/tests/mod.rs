//! The decider alone against the conformance cases: rows in memory in place of tables, and time
//! that passes when it is told to.

#[path = "../../../tests/conformance/case.rs"]
mod case;
mod children;
#[path = "../../../tests/conformance/compare.rs"]
mod compare;
mod events;
mod http;
mod laws;
mod limits;
mod lists;
mod loads;
#[path = "../../../tests/conformance/nested.rs"]
mod nested;
mod operators;
mod play;
mod rows;
pub(crate) mod scripted;
mod undo;
mod undo_laws;
mod world;
mod written;

#[test]
fn the_decider_alone_gives_what_every_case_expects() {
    let cases = case::all();
    println!("{} cases", cases.len());
    play_all(&cases);
}

#[test]
fn the_decider_alone_runs_tasks_in_each_other_as_deep_as_they_may_be() {
    play_all(&nested::cases());
}

fn play_all(cases: &[case::Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        assert!(!case.rule.is_empty(), "{}", case.name);
        if let Err(what) = play::play(case) {
            wrong.push(format!("{}: {what}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}
