//! Properties that hold for every definition and whatever happens. Most are asserted by the
//! model at each step; see there.

use proptest::prelude::*;
use serde_json::json;

use super::model::{Attempt, Model, Outcome};
use super::play::Move;
use super::random::{input, moves, outcome, plan};
use crate::decide::{TaskStatus, WorkflowStatus};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Deterministic, total, quiescent, monotone, the same from memory as from a fresh load,
    /// something open while it runs: asserted at each step.
    #[test]
    fn the_laws_hold_whatever_workers_timers_and_operators_do(
        plan in plan(), input in input(), moves in moves(),
    ) {
        let mut model = Model::start(plan, input);
        for play in &moves {
            model.play(play);
        }
        model.finish();
    }

    #[test]
    fn a_run_ends_within_its_attempts(
        plan in plan(), outcomes in prop::collection::vec(outcome(), 1..8),
    ) {
        let allowed: i32 = plan.nodes.iter().map(|node| node.retry.count + 1).sum();
        let mut model = Model::start(plan, json!({ "x": 1 }));
        for n in 0..usize::try_from(allowed).expect("positive") {
            let outcome = outcomes[n % outcomes.len()].clone();
            model.report(outcome.clone());
            if outcome.status == TaskStatus::TimedOut && model.history.len() == n {
                // Its policy only alerts: the attempt goes on, and ends another way.
                model.report(Outcome::failed("late"));
            }
        }
        prop_assert!(model.status.is_terminal(), "{} attempts left it {}", allowed, model.status);
        for row in &model.history {
            let count = model.plan.node(&row.reference_name).map(|node| node.retry.count);
            prop_assert!(Some(i32::from(row.attempt)) <= count);
        }
    }

    #[test]
    fn a_pause_changes_when_things_happen_and_not_what(
        plan in plan(), outcomes in prop::collection::vec(outcome(), 1..12),
    ) {
        let mut straight = Model::start(plan.clone(), json!({ "which": "r0" }));
        let mut paused = Model::start(plan, json!({ "which": "r0" }));
        for outcome in outcomes {
            straight.play(&Move::Report(outcome.clone()));
            for play in [Move::Pause, Move::Report(outcome), Move::Resume] {
                paused.play(&play);
            }
            prop_assert_eq!(&straight.history, &paused.history);
            prop_assert_eq!(&straight.end, &paused.end);
            prop_assert_eq!(straight.now, paused.now);
        }
    }

    #[test]
    fn attempts_of_a_step_are_numbered_without_a_gap(plan in plan(), moves in moves()) {
        let mut model = Model::start(plan, json!({}));
        for play in &moves {
            model.play(play);
        }
        for epoch in 0..=model.epoch {
            for node in &model.plan.nodes {
                let of_step = |row: &&Attempt| {
                    row.epoch == epoch && row.reference_name == *node.reference_name
                };
                let numbers: Vec<i16> =
                    model.history.iter().filter(of_step).map(|row| row.attempt).collect();
                let expected: Vec<i16> = (0..).take(numbers.len()).collect();
                prop_assert_eq!(numbers, expected);
            }
        }
    }

    #[test]
    fn a_run_is_completed_only_when_every_step_ended_well(plan in plan(), moves in moves()) {
        let mut model = Model::start(plan, json!({}));
        for play in &moves {
            model.play(play);
        }
        model.finish();
        if model.status == WorkflowStatus::Completed {
            let fresh = model.fresh();
            for node in &model.plan.nodes {
                let fact = fresh.facts.get(&*node.reference_name);
                prop_assert!(fact.is_some_and(|fact| fact.status.is_successful()));
            }
        }
    }
}
