//! Checks definitions before they are registered: every fault at once, each with its place.
//!
//! The rules are those of Conductor's registration, and bounds that keep arithmetic and the
//! database safe. What is not supported yet stands in one table, [`not_yet`].

mod fit;
mod handlers;
mod http;
mod inert;
mod limits;
mod not_yet;
mod numbers;
mod references;
mod schemas;
mod scripts;
mod secrets;
#[cfg(test)]
mod tests;
mod types;
mod undo;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use self::fit::misfits;
pub use self::handlers::validate_event_handler;
pub(crate) use self::limits::validate_limits;
use self::references::Walk;
pub(crate) use self::schemas::validate_schema;
pub(crate) use self::secrets::check_brought_secrets;
pub(crate) use self::undo::{LEFT_DONE, never_undone};
use super::faults::{Fault, Faults, Notice};
use super::nesting::{Part, check_parts, with_room_for};
use super::payload::KEY_MAX_BYTES;
use super::task_def::TaskDef;
use super::task_type::TaskType;
use super::template::survey;
use super::workflow_def::WorkflowDef;
use super::workflow_task::WorkflowTask;

/// Registered task definitions by name.
type TaskDefs = BTreeMap<String, TaskDef>;

/// Checks a workflow definition against the task definitions that are registered. Out: what it
/// says without an effect.
///
/// # Errors
/// Every fault, each with its JSON path and what to do.
pub fn validate(
    def: &WorkflowDef,
    task_defs: &BTreeMap<String, TaskDef>,
) -> Result<Vec<Notice>, Faults> {
    check(def, Some(task_defs))
}

/// Checks what does not depend on registered task definitions.
pub(super) fn validate_alone(def: &WorkflowDef) -> Result<(), Faults> {
    check(def, None).map(drop)
}

/// Checks a task that data brings: what its type asks for, also of those inside it. Its
/// expressions may read whatever there is.
pub(crate) fn validate_branch(task: &WorkflowTask) -> Result<(), Faults> {
    let mut found = Found::default();
    for Step { path, task, next } in steps("$", std::slice::from_ref(task)) {
        types::check_idle_fields(&mut found, task, &path);
        let known = types::check_known(&mut found, task, &path, None);
        limits::check_step(&mut found, task, &path, None);
        if not_yet::check_step(&mut found, task, &path) && known {
            types::check_required(&mut found, task, &path, None);
            scripts::check(&mut found, task, &path);
            http::check(&mut found, task, &path);
        }
        undo::check_brought(&mut found, task, &path);
        if task.task_type == TaskType::ForkJoin {
            match next.filter(|next| next.task_type == TaskType::Join) {
                Some(join) => not_yet::check_fork(&mut found, task, join, &path),
                None => found.add(&path, "a FORK_JOIN is followed by a JOIN: add one behind it"),
            }
        }
    }
    Faults::check(format!("task {:?}", task.task_reference_name), found.faults)
}

/// The JSON paths of the steps of a type.
pub(crate) fn steps_of(def: &WorkflowDef, of: &TaskType) -> Vec<String> {
    let steps = steps("$.tasks", &def.tasks).into_iter();
    steps.filter(|step| step.task.task_type == *of).map(|step| step.path).collect()
}

/// Checks a task definition. Out: what it says without an effect.
///
/// # Errors
/// Every fault, each with its JSON path and what to do.
pub fn validate_task_def(def: &TaskDef) -> Result<Vec<Notice>, Faults> {
    let mut found = Found::default();
    check_task_def(&mut found, def, "$", 1);
    check_storable(&mut found, serde_json::to_value(def), Part::Plain);
    found.end(def.subject())
}

/// The faults and notices found so far.
#[derive(Debug, Default)]
struct Found {
    faults: Vec<Fault>,
    notices: Vec<Fault>,
}

impl Found {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(path, message));
    }

    /// Something that does not keep the definition from being registered.
    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.notices.push(Fault::new(path, message));
    }

    fn end(self, subject: String) -> Result<Vec<Notice>, Faults> {
        let noticed = |of: Fault| Notice::new(subject.clone(), of.path, of.message);
        let notices = self.notices.into_iter().map(noticed).collect();
        Faults::check(subject, self.faults)?;
        Ok(notices)
    }

    /// A name that becomes a key in the database.
    fn check_name(&mut self, path: &str, name: &str) {
        if name.trim().is_empty() {
            self.add(path, "is empty: give a name");
        } else if name.len() > KEY_MAX_BYTES {
            let length = name.len();
            self.add(path, format!("is {length} bytes long: at most {KEY_MAX_BYTES} are allowed"));
        } else if name.contains('\0') {
            self.add(path, "holds a NUL character, which PostgreSQL does not store: remove it");
        }
    }

    /// A name of a task, which is the name of its queue too.
    fn check_task_name(&mut self, path: &str, name: &str) {
        self.check_name(path, name);
        if name.starts_with('$') {
            self.add(path, "begins with `$`, which is kept for the engine's own queues: rename it");
        }
    }
}

fn check(def: &WorkflowDef, task_defs: Option<&TaskDefs>) -> Result<Vec<Notice>, Faults> {
    let checked = with_room_for(&def.tasks, || check_all(def, task_defs));
    checked.unwrap_or_else(|fault| Err(Faults::one(def.subject(), fault)))
}

fn check_all(def: &WorkflowDef, task_defs: Option<&TaskDefs>) -> Result<Vec<Notice>, Faults> {
    let mut found = Found::default();
    found.check_name("$.name", &def.name);
    numbers::check_workflow(&mut found, def);
    check_failure_workflow(&mut found, def);
    not_yet::check_workflow(&mut found, def);
    inert::note_workflow(&mut found, def);
    schemas::check_workflow(&mut found, def);
    if def.tasks.is_empty() {
        found.add("$.tasks", "is empty: a workflow has at least one task");
    }
    let mut walk = Walk::new(def, task_defs, &mut found);
    walk.check_names(&def.tasks, "$.tasks");
    walk.check_sequence(&def.tasks, "$.tasks");
    walk.check_output();
    walk.check_undos(&def.tasks, "$.tasks");
    check_storable(&mut found, serde_json::to_value(def), Part::Definition);
    found.end(def.subject())
}

/// What holds for a task definition wherever it stands. `response_timeout_min` is 0 where no
/// worker runs the task.
fn check_task_def(found: &mut Found, def: &TaskDef, path: &str, response_timeout_min: i64) {
    found.check_task_name(&format!("{path}.name"), &def.name);
    numbers::check_task_def(found, def, path, response_timeout_min);
    for (index, name) in def.runtime_metadata.iter().enumerate() {
        found.check_name(&format!("{path}.runtimeMetadata[{index}]"), name);
    }
    schemas::check_task_def(found, def, path);
    for (field, given) in [
        ("isolationGroupId", &def.isolation_group_id),
        ("executionNameSpace", &def.execution_name_space),
    ] {
        if let Some(name) = given.as_deref().filter(|name| !name.is_empty()) {
            found.check_name(&format!("{path}.{field}"), name);
        }
    }
    let template = Value::Object(def.input_template.clone());
    for fault in survey(&template, &format!("{path}.inputTemplate")).1 {
        found.add(fault.path, fault.message);
    }
}

fn check_failure_workflow(found: &mut Found, def: &WorkflowDef) {
    let path = "$.failureWorkflow";
    match def.failure_workflow.as_deref() {
        None | Some("") => {}
        Some(name) if name.starts_with('$') => {
            let mut parts = name.split('.');
            let known = parts.next() == Some("$workflow") && parts.next() == Some("input");
            let key = parts.next().filter(|key| !key.is_empty());
            if !known || key.is_none() || parts.next().is_some() {
                let hint = "write a name, or `$workflow.input.<key>` with one top-level key";
                found.add(path, format!("`{name}` cannot be looked up: {hint}"));
            }
        }
        Some(name) => found.check_name(path, name),
    }
}

/// Whether a definition can be stored: as JSON, without NUL, and not too deep.
fn check_storable(found: &mut Found, text: serde_json::Result<Value>, part: Part) {
    let mut path = String::from("$");
    let checked = match text {
        Ok(value) => check_parts(&value, part, 0, &mut path),
        Err(error) => Err(format!("cannot be written as JSON: {error}")),
    };
    if let Err(message) = checked
        && !found.faults.iter().any(|fault| fault.path == path)
    {
        found.add(path, message);
    }
}

/// A task of a definition, wherever it stands.
struct Step<'a> {
    path: String,
    task: &'a WorkflowTask,
    /// What stands behind it in its list.
    next: Option<&'a WorkflowTask>,
}

/// The tasks of a list and those inside them. The list's path is `$` where it is one task alone.
fn steps<'a>(path: &str, tasks: &'a [WorkflowTask]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut rest = vec![(path.to_owned(), tasks)];
    while let Some((list, tasks)) = rest.pop() {
        for (index, task) in tasks.iter().enumerate() {
            let path = if list == "$" { list.clone() } else { format!("{list}[{index}]") };
            rest.extend(branches(task, &path));
            steps.push(Step { path, task, next: tasks.get(index + 1) });
        }
    }
    steps
}

/// The tasks inside a task, each list with its JSON path.
fn branches<'a>(task: &'a WorkflowTask, path: &str) -> Vec<(String, &'a [WorkflowTask])> {
    let mut all = Vec::new();
    for (case, tasks) in &task.decision_cases {
        let mut path = format!("{path}.decisionCases");
        super::payload::push_key(&mut path, case);
        all.push((path, tasks.as_slice()));
    }
    if !task.default_case.is_empty() {
        all.push((format!("{path}.defaultCase"), &task.default_case));
    }
    for (index, tasks) in task.fork_tasks.iter().enumerate() {
        all.push((format!("{path}.forkTasks[{index}]"), tasks));
    }
    if !task.loop_over.is_empty() {
        all.push((format!("{path}.loopOver"), &task.loop_over));
    }
    all
}
