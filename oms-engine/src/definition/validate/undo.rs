//! Tasks that undo others: where they make sense, what they may say, what they are called.

use std::collections::BTreeMap;

use super::references::{Place, Walk};
use super::{Found, Step, TaskDefs, branches, check_task_def, not_yet, numbers, steps, types};
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::{SubWorkflowParams, WorkflowTask};

/// Of a sub-workflow whose steps are not undone.
pub(crate) const LEFT_DONE: &str = "steps of this workflow say what undoes them, and this one does \
                                    not: once it has completed, nothing of it is undone with the \
                                    run around it: name a compensation here";

/// The sub-workflows that nothing undoes, each with its JSON path.
pub(crate) fn never_undone(def: &WorkflowDef) -> Vec<(String, &SubWorkflowParams)> {
    let mut found = Vec::new();
    for Step { path, task, .. } in steps("$.tasks", &def.tasks) {
        if let (Some(params), None) = (&task.sub_workflow_param, &task.compensation) {
            found.push((path, params));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

impl Walk<'_> {
    /// Checks the tasks that undo others. Comes after the output: like that, they may read every
    /// task.
    pub(super) fn check_undos(&mut self, tasks: &[WorkflowTask], path: &str) {
        self.check_undos_in(tasks, path, &mut BTreeMap::new());
    }

    fn check_undos_in(
        &mut self,
        tasks: &[WorkflowTask],
        path: &str,
        names: &mut BTreeMap<String, String>,
    ) {
        for (index, task) in tasks.iter().enumerate() {
            let step = format!("{path}[{index}]");
            if let Some(undo) = task.undo_task() {
                let at = format!("{step}.compensation");
                check(self.found, task, &undo, &step, self.task_defs);
                let place = Place::of_input(&undo.task_type);
                self.check_map(&undo.input_parameters, &format!("{at}.inputParameters"), place);
                let name = undo.task_reference_name;
                let taken = self.names.get(name.as_str()).or_else(|| names.get(&name));
                if let Some(first) = taken {
                    let message = format!("{name:?} is used already at {first}: rename one");
                    self.found.add(format!("{at}.taskReferenceName"), message);
                }
                names.entry(name).or_insert(at);
            }
            for (path, tasks) in branches(task, &step) {
                self.check_undos_in(tasks, &path, names);
            }
        }
    }
}

/// Checks the undo of a task that data brings.
pub(super) fn check_brought(found: &mut Found, task: &WorkflowTask, step: &str) {
    let Some(undo) = task.undo_task() else { return };
    check(found, task, &undo, step, None);
    if task.task_reference_name.contains("__") {
        found.add(
            format!("{step}.taskReferenceName"),
            "`__` is kept for iterations of a loop, and a task that can be undone is found by its \
             name: rename the task",
        );
    }
}

fn check(
    found: &mut Found,
    task: &WorkflowTask,
    undo: &WorkflowTask,
    step: &str,
    task_defs: Option<&TaskDefs>,
) {
    let path = format!("{step}.compensation");
    if !has_effects(&task.task_type) {
        let kind = &task.task_type;
        let message = format!("a {kind} does nothing that outlives its run: remove it");
        found.add(&path, message);
    }
    if !matches!(undo.task_type, TaskType::Simple | TaskType::SubWorkflow) {
        let message = format!("is {}: write SIMPLE or SUB_WORKFLOW", undo.task_type);
        found.add(format!("{path}.type"), message);
        return;
    }
    let name = undo.task_reference_name.as_str();
    if name.contains("__") || matches!(name, "workflow" | "CPEWF_TASK_ID") {
        let message = format!("{name:?} has a meaning of its own: rename the task");
        found.add(format!("{path}.taskReferenceName"), message);
    }
    let given = task.compensation.as_deref();
    for (field, set) in [
        ("optional", given.is_some_and(|given| given.optional)),
        ("permissive", undo.permissive),
        ("compensation", undo.compensation.is_some()),
    ] {
        if set {
            let message = "has no effect on a task that undoes another: remove it";
            found.add(format!("{path}.{field}"), message);
        }
    }
    found.check_name(&format!("{path}.taskReferenceName"), name);
    found.check_task_name(&format!("{path}.name"), &undo.name);
    numbers::check_step(found, undo, &path);
    types::check_idle_fields(found, undo, &path);
    let registered = task_defs.and_then(|defs| defs.get(&undo.name));
    let task_def = undo.task_definition.as_deref().or(registered);
    if not_yet::check_step(found, undo, &path) {
        types::check_required(found, undo, &path, task_def.map(|def| &def.input_template));
    }
    if let Some(inline) = undo.task_definition.as_deref() {
        let response_timeout_min = i64::from(undo.task_type == TaskType::Simple);
        check_task_def(found, inline, &format!("{path}.taskDefinition"), response_timeout_min);
    }
}

/// Whether a task of this type can do something that outlives its run.
const fn has_effects(kind: &TaskType) -> bool {
    matches!(
        kind,
        TaskType::Simple
            | TaskType::UserDefined
            | TaskType::Other(_)
            | TaskType::Dynamic
            | TaskType::Http
            | TaskType::Event
            | TaskType::Human
            | TaskType::SubWorkflow
            | TaskType::StartWorkflow
    )
}
