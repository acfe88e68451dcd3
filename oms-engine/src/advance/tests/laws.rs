//! Laws over random nested definitions and random outcomes: asserted after every step.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::undo_laws::{bring, check_again, check_undone, undone};
use super::world::{What, World, is_parked};
use super::written::{undo_of, write};
use crate::advance::family::Control;
use crate::advance::{Rerun, RerunFrom};
use crate::decide::{SYSTEM_QUEUE, TaskStatus, WorkflowStatus};
use crate::ids::WorkflowId;
use crate::store::TokenState;

/// Steps that no run of these definitions needs.
const STEPS_MAX: usize = 5_000;

/// A shape of a definition; names are given when it is written out.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Task {
        optional: bool,
        permissive: bool,
        reads: bool,
        undo: bool,
    },
    Noop,
    SetVariable,
    Event {
        asynchronous: bool,
    },
    Switch {
        cases: Vec<Vec<Self>>,
        taken: usize,
    },
    /// A bit for each branch that the JOIN waits for; whether a second one waits for all.
    Fork {
        branches: Vec<Vec<Self>>,
        joined: u8,
        again: bool,
    },
    Loop {
        turns: usize,
        body: Vec<Self>,
    },
    Dynamic {
        branches: usize,
        undo: bool,
    },
    Child,
    Terminate,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let flag = || prop::bool::weighted(0.2);
    let leaf = prop_oneof![
        6 => (flag(), flag(), any::<bool>(), any::<bool>()).prop_map(
            |(optional, permissive, reads, undo)| {
                Shape::Task { optional, permissive, reads, undo }
            },
        ),
        1 => Just(Shape::Noop),
        1 => Just(Shape::SetVariable),
        1 => any::<bool>().prop_map(|asynchronous| Shape::Event { asynchronous }),
        1 => (0..3_usize, any::<bool>())
            .prop_map(|(branches, undo)| Shape::Dynamic { branches, undo }),
        1 => Just(Shape::Child),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let sequence = || prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (prop::collection::vec(sequence(), 1..3), 0..3_usize)
                .prop_map(|(cases, taken)| Shape::Switch { cases, taken }),
            (prop::collection::vec(sequence(), 1..4), joined(), any::<bool>())
                .prop_map(|(branches, joined, again)| Shape::Fork { branches, joined, again }),
            (0..3_usize, sequence()).prop_map(|(turns, body)| Shape::Loop { turns, body }),
            Just(Shape::Terminate),
        ]
    })
}

/// Half of all JOINs wait for every branch.
fn joined() -> impl Strategy<Value = u8> {
    prop_oneof![Just(u8::MAX), any::<u8>()]
}

/// What an operator does before a step.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Pause,
    Resume,
    Terminate,
    /// One of the runs, with or without its sub-workflows.
    Retry(bool),
    Restart,
    Rerun,
    /// Terminate with compensation.
    Compensate,
}

/// How a task ends, which one, and what comes before.
type Move = (TaskStatus, prop::sample::Index, Before);

fn outcome() -> impl Strategy<Value = Move> {
    let status = prop::sample::select(vec![
        TaskStatus::Completed,
        TaskStatus::Completed,
        TaskStatus::Completed,
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::FailedWithTerminalError,
    ]);
    let before = prop_oneof![
        20 => Just(Before::Nothing),
        4 => Just(Before::Pause),
        4 => Just(Before::Resume),
        1 => Just(Before::Terminate),
        2 => any::<bool>().prop_map(Before::Retry),
        1 => Just(Before::Restart),
        1 => Just(Before::Rerun),
        1 => Just(Before::Compensate),
    ];
    (status, any::<prop::sample::Index>(), before)
}

/// What holds of every run at every moment.
fn check(world: &World) {
    let mut keys = BTreeSet::new();
    for row in &world.tables.history {
        let key = (row.workflow_id, row.reference_name.clone(), row.epoch, row.attempt);
        assert!(keys.insert(key.clone()), "{key:?} ended twice");
    }
    for record in world.tables.runs.values() {
        let id = record.row.id;
        let own = || world.tables.open.values().filter(|o| o.row.token.workflow_id == id);
        let tasks = own().filter(|open| !open.row.token.reference_name.is_empty()).count();
        if record.row.status.is_terminal() {
            assert_eq!(tasks, 0, "{id} ended {} with open tasks", record.row.status);
        } else {
            let waits = |child: &super::rows::Record| {
                child.row.parent_id == Some(id) && !child.row.status.is_terminal()
            };
            let told = |open: &super::rows::Open| is_told_to_resume(world, open.row.token.id);
            let fires = own().any(|open| open.row.token.state != TokenState::Container)
                || world.tables.runs.values().any(waits)
                || own().any(told);
            assert!(fires, "{id} stands still");
        }
        for open in own().filter(|open| open.row.token.state == TokenState::Container) {
            let token = open.row.token.id;
            let inside = own().filter(|open| open.row.token.scope == Some(token)).count();
            let children = world.tables.runs.values().filter(|child| {
                child.row.parent_token == Some(token) && !child.row.status.is_terminal()
            });
            let children = children.count().max(usize::from(is_told_to_resume(world, token)));
            let waited = inside + children;
            assert_eq!(open.row.remaining, i32::try_from(waited).ok(), "{:?}", open.row);
        }
    }
}

/// Whether the run that a task waits for is about to be told so.
fn is_told_to_resume(world: &World, token: i64) -> bool {
    world.tables.open.values().any(|open| {
        matches!(Control::read(&open.row.token), Some(Control::Resume { token: of, .. }) if of == token)
    })
}

fn operate(world: &mut World, id: WorkflowId, (before, of): (Before, prop::sample::Index)) {
    let ids: Vec<WorkflowId> = world.tables.runs.keys().copied().collect();
    let any = ids[of.index(ids.len())];
    // What has not ended refuses these, and what has nothing to retry.
    match before {
        Before::Retry(resumes) => drop(world.retry(any, resumes)),
        Before::Restart => drop(world.restart(any)),
        Before::Rerun => {
            let first = world.tables.visible(any).into_iter().find(|row| row.seq > 0);
            let from = first.map(|row| RerunFrom::Step(row.reference_name));
            drop(world.rerun(any, &Rerun { from, ..Rerun::default() }));
        }
        _ => {}
    }
    match (before, world.tables.runs[&id].row.status) {
        (Before::Pause, WorkflowStatus::Running) => world.pause(id).unwrap(),
        (Before::Resume, WorkflowStatus::Paused) => world.resume(id).unwrap(),
        (Before::Terminate, WorkflowStatus::Running | WorkflowStatus::Paused) => {
            world.terminate(id, "enough".to_owned(), false).unwrap();
        }
        (Before::Compensate, WorkflowStatus::Running | WorkflowStatus::Paused) => {
            world.terminate(id, "enough".to_owned(), true).unwrap();
        }
        _ => {}
    }
}

/// Plays a run to its end; workers end what is open in a random order.
fn play(world: &mut World, id: WorkflowId, outcomes: &[Move]) {
    let operated = outcomes.len();
    let mut outcomes = outcomes.iter().cycle();
    for number in 0..STEPS_MAX {
        check(world);
        let over = world.tables.runs.values().all(|run| run.row.status.is_terminal());
        // What relatives told a run is read, though it has ended.
        if over && world.tables.open.is_empty() {
            return;
        }
        let (status, of, before) = outcomes.next().unwrap();
        // An operator who pauses again and again would never let it end.
        if number < operated {
            operate(world, id, (*before, *of));
        }
        // What a pause holds up does not go on by itself.
        let paused = world.tables.runs[&id].row.status == WorkflowStatus::Paused;
        if paused && number == 2 * operated {
            world.resume(id).unwrap();
        }
        let ready: Vec<(i64, bool)> = world
            .tables
            .open
            .values()
            .filter(|open| open.row.token.state != TokenState::Container && !is_parked(open))
            .map(|open| {
                // An event that was published and waits is ended from outside.
                let kind = open.row.task_type.as_deref();
                let told = kind == Some("EVENT") && open.row.output.is_some();
                (open.row.token.id, &*open.row.token.queue == SYSTEM_QUEUE && !told)
            })
            .collect();
        if ready.is_empty() {
            let paused = world.tables.runs[&id].row.status == WorkflowStatus::Paused;
            let over = world.tables.runs.values().all(|run| run.row.status.is_terminal());
            assert!(paused || over, "{id}: nothing can be done");
            if paused {
                world.resume(id).unwrap();
            }
            continue;
        }
        // In another order each time round: what is there is taken at some time, as by engines. An
        // hour's delay that is always over first would keep all else waiting for ever.
        let (token, system) = ready[(of.index(ready.len()) + number / operated) % ready.len()];
        // A delay is over when somebody looks.
        world.tables.open.get_mut(&token).unwrap().row.token.state = TokenState::Ready;
        let what = if system {
            What::System
        } else {
            What::Ended { status: *status, output: Some(json!({ "v": token })), reason: None }
        };
        world.step(token, what);
    }
    panic!("{id} does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_nested_in_what_a_run_ends_and_loses_and_doubles_nothing(
        shapes in prop::collection::vec(shape(), 1..4),
        outcomes in prop::collection::vec(outcome(), 1..40),
        retries in 0..2_i32, again in any::<bool>(), resumes in any::<bool>(),
    ) {
        let mut world = World::new();
        let def = json!({ "name": "t", "retryCount": retries, "retryDelaySeconds": 1 });
        world.task_defs.insert("t".to_owned(), serde_json::from_value(def).unwrap());
        let child = json!({ "name": "child", "tasks": [
            { "name": "t", "taskReferenceName": "c", "type": "SIMPLE",
                "compensation": undo_of("c") },
            { "name": "t", "taskReferenceName": "e", "type": "SIMPLE" },
        ]});
        world.register(&child).unwrap();
        let text = json!({ "name": "nested", "tasks": write(&shapes, &mut 0) });
        let (mut written, mut input) = (text.clone(), json!({}));
        bring(&mut written, &mut input);
        let plan = world.compile(&written).unwrap();
        let id = world.tables.add_run(&plan, input, None, None);
        play(&mut world, id, &outcomes);
        for run in world.tables.runs.keys().copied().collect::<Vec<_>>() {
            check_undone(&world, run, if run == id { &text } else { &child });
        }
        let undone = undone(&world, id);
        // What was brought back beside it may have failed again: that counts once.
        for _ in 0..3 {
            let status = world.tables.runs[&id].row.status;
            let stopped = matches!(status, WorkflowStatus::Failed | WorkflowStatus::Terminated);
            // What has nothing to retry is refused.
            if !again || !stopped || world.retry(id, resumes).is_err() {
                return Ok(());
            }
            let well = [(TaskStatus::Completed, outcomes[0].1, Before::Nothing)];
            play(&mut world, id, &well);
        }
        prop_assert_eq!(world.tables.runs[&id].row.status, WorkflowStatus::Completed);
        check_again(&world, id, &undone);
    }
}

#[test]
fn memory_decides_most_steps_of_a_line() {
    let mut world = World::new();
    world.task_defs.insert("t".to_owned(), crate::TaskDef::default_for("t"));
    let shape = || Shape::Task { optional: false, permissive: false, reads: true, undo: false };
    let tasks = write(&[shape(), Shape::SetVariable, shape(), shape()], &mut 0);
    let plan = world.compile(&json!({ "name": "line", "tasks": tasks })).unwrap();
    let id = world.tables.add_run(&plan, json!({}), None, None);
    while let Some(open) = world.tables.open.values().next() {
        let (token, system) = (open.row.token.id, &*open.row.token.queue == SYSTEM_QUEUE);
        let (status, output) = (TaskStatus::Completed, Some(json!({ "v": 1 })));
        let ends = What::Ended { status, output, reason: None };
        world.step(token, if system { What::System } else { ends });
    }
    assert_eq!(world.tables.runs[&id].row.status, WorkflowStatus::Completed);
    assert_eq!(world.remembered, 3, "each task's end");
}
