//! Random nested definitions whose tasks' outcomes depend on their names alone, and what the
//! decider makes of them when nothing else is there: to hold a run on PostgreSQL against.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use super::laws::{Shape, shape};
use super::rows::Open;
use super::world::{What, World, is_parked};
use super::written::write;
use crate::advance::Execution;
use crate::decide::{SYSTEM_QUEUE, TaskStatus};
use crate::ids::WorkflowId;
use crate::store::TokenState;

/// From this number on tasks may fail for good.
const WILD: usize = 1_000;
const STEPS_MAX: usize = 5_000;

/// What a run came to, as far as it does not depend on which branch was faster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    status: String,
    output: Value,
    variables: Value,
    tasks: Vec<(String, String, i16)>,
}

impl Picture {
    pub(crate) fn of(run: &Execution) -> Self {
        let task = |task: &crate::advance::TaskExecution| {
            let status = task.status.as_str().to_owned();
            (task.reference_task_name.clone(), status, task.retry_count)
        };
        let mut tasks: Vec<_> = run.tasks.iter().map(task).collect();
        tasks.sort();
        let mut output = run.output.clone();
        forget_ids(&mut output);
        let status = run.status.as_str().to_owned();
        Self { status, output, variables: run.variables.clone(), tasks }
    }
}

/// The ids of children differ from play to play.
fn forget_ids(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("subWorkflowId");
            map.values_mut().for_each(forget_ids);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_ids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How an attempt ends, and what it gives.
pub(crate) fn outcome(reference_name: &str, attempt: i16) -> (TaskStatus, Value) {
    let text = format!("{reference_name}/{attempt}");
    let drawn = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let drawn = drawn >> 32;
    let base = reference_name.split("__").next().unwrap_or_default();
    let number: usize = base.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0);
    let status = match (base.starts_with('o'), number >= WILD) {
        (true, _) if drawn.is_multiple_of(2) => TaskStatus::Failed,
        (false, true) if drawn.is_multiple_of(9) => TaskStatus::FailedWithTerminalError,
        (false, true) if drawn.is_multiple_of(3) => TaskStatus::Failed,
        (false, false) if attempt == 0 && drawn.is_multiple_of(3) => TaskStatus::Failed,
        _ => TaskStatus::Completed,
    };
    (status, json!({ "v": drawn % 10 }))
}

/// Where branches run side by side nothing may end the run before all of them are through: what
/// it came to would depend on the race.
fn tame(shape: &mut Shape) {
    match shape {
        Shape::Task { permissive, .. } => *permissive = false,
        // What an event holds names its run, which is another each time.
        Shape::Terminate | Shape::Event { .. } => *shape = Shape::Noop,
        Shape::Switch { cases: lists, .. } | Shape::Fork { branches: lists, .. } => {
            lists.iter_mut().flatten().for_each(tame);
        }
        Shape::Loop { body, .. } => body.iter_mut().for_each(tame),
        // A definition that is registered may not read what data brings.
        Shape::Dynamic { undo, .. } => *undo = false,
        Shape::Noop | Shape::SetVariable | Shape::Child => {}
    }
}

/// Without branches anything may happen.
fn line_up(shape: &mut Shape) {
    match shape {
        Shape::Fork { branches, .. } => {
            let mut body = branches.drain(..).next().unwrap_or_default();
            body.iter_mut().for_each(line_up);
            *shape = Shape::Loop { turns: 1, body };
        }
        Shape::Switch { cases, .. } => cases.iter_mut().flatten().for_each(line_up),
        Shape::Loop { body, .. } => body.iter_mut().for_each(line_up),
        Shape::Dynamic { .. } | Shape::Event { .. } => *shape = Shape::Noop,
        Shape::Task { .. } | Shape::Noop | Shape::SetVariable | Shape::Child | Shape::Terminate => {
        }
    }
}

/// The task definition and the child that all of them name.
pub(crate) fn named() -> (Value, Value) {
    let task = json!({ "name": "t", "retryCount": 1, "retryDelaySeconds": 0 });
    let child = json!({ "name": "child", "tasks": [
        { "name": "t", "taskReferenceName": "c", "type": "SIMPLE" },
    ]});
    (task, child)
}

/// So many definitions; every third is a line in which tasks may fail for good.
pub(crate) fn definitions(seed: u64, count: usize) -> Vec<Value> {
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let shapes = proptest::collection::vec(shape(), 1..4);
    let texts = (0..count).map(|number| {
        let mut shapes = shapes.new_tree(&mut runner).unwrap().current();
        let mut next = if number % 3 == 0 { WILD } else { 0 };
        shapes.iter_mut().for_each(if number % 3 == 0 { line_up } else { tame });
        let tasks = write(&shapes, &mut next);
        let names = tasks.iter().filter_map(|task| task["taskReferenceName"].as_str());
        let output: Map<String, Value> =
            names.map(|name| (name.to_owned(), json!(format!("${{{name}.output}}")))).collect();
        json!({ "name": format!("w{number}"), "tasks": tasks, "outputParameters": output })
    });
    texts.collect()
}

/// What the decider alone makes of a definition.
pub(crate) fn alone(text: &Value) -> Picture {
    let mut world = World::new();
    let (task, child) = named();
    world.task_defs.insert("t".to_owned(), serde_json::from_value(task).unwrap());
    world.register(&child).unwrap();
    let plan = world.compile(text).unwrap();
    let id = world.tables.add_run(&plan, json!({}), None, None);
    for _ in 0..STEPS_MAX {
        let ready =
            |open: &&Open| open.row.token.state != TokenState::Container && !is_parked(open);
        let next = world.tables.open.values().filter(ready).min_by_key(|open| open.row.seq);
        let Some(open) = next else { return Picture::of(&execution(&world, id)) };
        let token = &open.row.token;
        let (token_id, system) = (token.id, &*token.queue == SYSTEM_QUEUE);
        let (status, output) = outcome(&token.reference_name, token.attempt);
        let ends = What::Ended { status, output: Some(output), reason: Some("no".to_owned()) };
        world.step(token_id, if system { What::System } else { ends });
    }
    panic!("{text} does not end");
}

fn execution(world: &World, id: WorkflowId) -> Execution {
    let record = &world.tables.runs[&id];
    assert!(record.row.status.is_terminal(), "{id} stands still");
    let history = world.tables.visible(id);
    let run = world.tables.run(record);
    Execution::assemble(record.row.clone(), &record.plan, &run.state, history, Vec::new())
}
