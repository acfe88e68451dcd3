//! Properties that hold for every definition and whatever happens. Most are asserted by the
//! model at each step; see there.

use proptest::prelude::*;
use serde_json::json;

use super::model::{Attempt, Model, Outcome};
use super::play::Move;
use super::random::{input, moves, outcome, plan};
use crate::decide::{Decision, Event, Fact, TaskEnd, TaskStatus, WorkflowStatus, decide};

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
        let allowed: i32 = plan.graph.nodes.iter().map(|node| node.retry.count + 1).sum();
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
            for node in &model.plan.graph.nodes {
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
            for node in &model.plan.graph.nodes {
                let fact = fresh.facts.get(&*node.reference_name);
                prop_assert!(fact.is_some_and(|fact| fact.status.is_successful()));
            }
        }
    }

    /// Also in states that no run of the decider leads to: the tables were changed by hand.
    #[test]
    fn any_event_in_any_state_is_decided_or_refused(
        plan in plan(), input in input(), seen in prop::collection::vec(anything(), 0..6),
        epoch in edge_numbers(), status in prop::sample::select(WorkflowStatus::ALL),
        events in prop::collection::vec((any_event(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut state = Model::start(plan.clone(), input).fresh();
        (state.epoch, state.status) = (epoch, status);
        state.open.clear();
        for (name, attempt, status, open) in seen {
            state.set_aside.insert(name.clone(), attempt);
            if open {
                state.open.insert(name.into(), attempt);
            } else {
                let (reason, output) = (Some(name.clone()), None);
                let (turns, input, history) = (Vec::new(), None, None);
                let fact = Fact { turns, epoch, attempt, status, input, output, reason, history };
                state.facts.insert(name.into(), fact);
            }
        }
        for (mut event, of) in events {
            let open: Vec<_> = state.open.iter().collect();
            if let (Event::Ended(end), false) = (&mut event, open.is_empty()) {
                let (name, attempt) = open[of.index(open.len())];
                (end.reference_name, end.attempt) = (name.clone(), *attempt);
            }
            let before = state.status;
            match decide(&plan, &mut state, &event) {
                Ok(Decision { scheduled, end: None, .. }) if !scheduled.is_empty() => {
                    let open = &scheduled[0];
                    prop_assert_eq!(state.open.get(&open.reference_name), Some(&open.attempt));
                }
                Ok(Decision { end: Some(end), .. }) => {
                    prop_assert_eq!(state.status, end.status);
                }
                // What follows is open already, or the event is no news.
                Ok(nothing) => prop_assert!(!nothing.arrives && nothing.variables.is_empty()),
                // It leaves a state that nobody goes on with.
                Err(_) => break,
            }
            let over = before.is_terminal() && !matches!(event, Event::Retry);
            prop_assert!(!over || state.status == before, "{} became {}", before, state.status);
        }
    }
}

fn edge_numbers() -> impl Strategy<Value = i16> {
    prop::sample::select(vec![i16::MIN, -1, 0, 1, 2, i16::MAX - 1, i16::MAX])
}

fn anything() -> impl Strategy<Value = (String, i16, TaskStatus, bool)> {
    let name = (0..6).prop_map(|n| format!("r{n}"));
    (name, edge_numbers(), prop::sample::select(TaskStatus::ALL), prop::bool::weighted(0.3))
}

fn any_event() -> impl Strategy<Value = Event> {
    (anything(), outcome(), 0..6_u8).prop_map(|((name, attempt, status, _), outcome, kind)| {
        match kind {
            0 => Event::Start,
            1 => Event::Retry,
            2 => Event::Continue {
                after: name,
                retry_after: outcome.retry_after,
                timeout: outcome.timeout,
                jitter: f64::NAN,
            },
            _ => Event::Ended(TaskEnd {
                reference_name: name.into(),
                attempt,
                status: if kind == 3 { status } else { outcome.status },
                input: None,
                output: None,
                reason: outcome.reason,
                retry_after: outcome.retry_after,
                timeout: outcome.timeout,
                jitter: outcome.jitter,
            }),
        }
    })
}
