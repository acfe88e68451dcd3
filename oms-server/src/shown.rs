//! Runs and tasks as Conductor shows them.

use std::collections::{BTreeMap, BTreeSet};

use oms_engine::chrono::{DateTime, Utc};
use oms_engine::{Error, Execution, PolledTask, TaskExecution, WorkflowDef, WorkflowTask};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::refusal::Refusal;

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A run with its definition, as Conductor's `Workflow`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    run: Map<String, Value>,
    /// Its own text, since tasks may stand deep in each other.
    workflow_definition: Box<RawValue>,
}

impl Shown {
    /// One of the run's own fields.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.run.get(name)
    }
}

/// A run, as Conductor's `Workflow`.
pub(crate) fn workflow_json(mut run: Execution, with_tasks: bool) -> Result<Shown, Refusal> {
    let own = std::mem::take(&mut run.tasks);
    let mut shown = object(&run);
    let steps = steps_of(&run);
    let tasks: Vec<Value> = if with_tasks {
        own.iter().map(|task| shown_task((&run, &own), &steps, task)).collect()
    } else {
        Vec::new()
    };
    let changed = own.iter().filter_map(|task| task.end_time.or(task.start_time)).max();
    let changed = run.end_time.or(changed).unwrap_or(run.create_time);
    let failed: BTreeSet<&str> =
        run.failed_reference_task_names.iter().map(String::as_str).collect();
    let failed = own.iter().filter(|task| failed.contains(&*task.reference_task_name));
    let failed: BTreeSet<&str> = failed.map(|task| task.task_def_name.as_str()).collect();
    let more = json!({
        "tasks": tasks,
        "startTime": run.create_time.timestamp_millis(),
        "updateTime": changed.timestamp_millis(),
        "endTime": millis(run.end_time),
        "lastRetriedTime": millis(run.last_retried_time),
        "failedTaskNames": failed,
        "taskToDomain": run.task_to_domain,
        "history": [],
    });
    shown.extend(object(&more));
    Ok(Shown { run: shown, workflow_definition: definition_json(&run.definition)? })
}

/// A workflow definition's text.
pub(crate) fn definition_json(def: &WorkflowDef) -> Result<Box<RawValue>, Refusal> {
    def.to_json().map_err(|faults| Error::InvalidDefinition { faults }.into())
}

fn millis(time: Option<DateTime<Utc>>) -> i64 {
    time.map_or(0, |time| time.timestamp_millis())
}

/// A run's steps by reference name.
type Steps<'a> = BTreeMap<&'a str, &'a WorkflowTask>;

fn steps_of(run: &Execution) -> Steps<'_> {
    let all = run.definition.all_tasks().into_iter();
    all.map(|step| (step.task_reference_name.as_str(), step)).collect()
}

/// A task of a run, as Conductor's `Task`.
pub(crate) fn task_json(run: &Execution, task: &TaskExecution) -> Value {
    shown_task((run, &run.tasks), &steps_of(run), task)
}

/// `all`: the run's tasks.
fn shown_task(
    (run, all): (&Execution, &[TaskExecution]),
    steps: &Steps<'_>,
    task: &TaskExecution,
) -> Value {
    let mut shown = object(task);
    let (own, iteration) = plain_name(&task.reference_task_name);
    let step = steps.get(task.reference_task_name.as_str()).or_else(|| steps.get(own));
    let of_loop = step.and_then(|step| turn_of_loop(all, task, own, step));
    let iteration = of_loop.unwrap_or_else(|| u64::from(iteration));
    let wait = task.start_time.map_or(0, |start| (start - task.scheduled_time).num_milliseconds());
    let changed = task.end_time.or(task.start_time).unwrap_or(task.scheduled_time);
    let more = json!({
        "startTime": millis(task.start_time),
        "endTime": millis(task.end_time),
        "updateTime": changed.timestamp_millis(),
        "queueWaitTime": wait.max(0),
        "workflowType": run.workflow_name,
        "workflowPriority": run.priority,
        "correlationId": run.correlation_id,
        "iteration": iteration,
        "loopOverTask": iteration > 0,
        "executed": task.end_time.is_some(),
        "callbackFromWorker": true,
        "workflowTask": step.map(|step| step_json(step)),
        "subWorkflowId": task.output_data.get("subWorkflowId"),
    });
    shown.extend(object(&more));
    Value::Object(shown)
}

/// Of a loop it is the turn that it is in that counts as its iteration, not that of a loop around it. While
/// it is open its output does not say so, but the name of what its body begins with does.
fn turn_of_loop(
    all: &[TaskExecution],
    task: &TaskExecution,
    own: &str,
    step: &WorkflowTask,
) -> Option<u64> {
    if task.task_type != "DO_WHILE" {
        return None;
    }
    let said = task.output_data.get("iteration").and_then(Value::as_u64);
    said.or_else(|| {
        let around = task.reference_task_name.strip_prefix(own)?;
        let begins = format!("{}{around}__", step.loop_over.first()?.task_reference_name);
        let turn =
            |one: &TaskExecution| one.reference_task_name.strip_prefix(&begins)?.parse().ok();
        all.iter().filter_map(turn).max()
    })
}

/// A step of a definition, without the steps that stand in it: those may be many, and deep.
fn step_json(step: &WorkflowTask) -> Value {
    let holds = !step.decision_cases.is_empty()
        || !step.default_case.is_empty()
        || !step.fork_tasks.is_empty()
        || !step.loop_over.is_empty()
        || step.sub_workflow_param.is_some()
        || step.compensation.is_some();
    if !holds {
        return json!(step);
    }
    json!({
        "name": step.name,
        "taskReferenceName": step.task_reference_name,
        "type": step.task_type,
        "inputParameters": step.input_parameters,
        "optional": step.optional,
    })
}

/// A reference name without the turns of its loops, and the last of these; 0 for none.
pub(crate) fn plain_name(name: &str) -> (&str, u32) {
    let mut plain = name;
    let mut iteration = 0;
    while let Some((before, turn)) = plain.rsplit_once("__") {
        let Ok(turn) = turn.parse() else { break };
        if iteration == 0 {
            iteration = turn;
        }
        plain = before;
    }
    (plain, iteration)
}

/// A task on its way to a worker, as Conductor's `Task`. It is written as it stands, without a copy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "Conductor's fields")]
pub(crate) struct ShownPolled<'a> {
    #[serde(flatten)]
    task: &'a PolledTask,
    /// The task has its own where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    update_time: i64,
    output_data: Nothing,
    callback_after_seconds: i64,
    callback_from_worker: bool,
    loop_over_task: bool,
    retried: bool,
    executed: bool,
}

/// An object without fields.
#[derive(Serialize)]
struct Nothing {}

impl<'a> ShownPolled<'a> {
    pub(crate) fn of(task: &'a PolledTask) -> Self {
        Self {
            task,
            start_time: task.start_time.is_none().then_some(0),
            update_time: millis(task.start_time),
            output_data: Nothing {},
            callback_after_seconds: 0,
            callback_from_worker: true,
            loop_over_task: task.iteration > 0,
            retried: false,
            executed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_s_turns_are_told_from_the_name() {
        for (name, plain, iteration) in [
            ("pay", "pay", 0),
            ("pay__2", "pay", 2),
            ("pay__2__7", "pay", 7),
            ("pay__now", "pay__now", 0),
            ("__3", "", 3),
        ] {
            assert_eq!(plain_name(name), (plain, iteration), "{name}");
        }
    }
}
