//! Reference names: unique, and read only where their task can have run.
//!
//! The walk follows the flow. A task can be read by what follows it; in a fork also by the
//! sibling branches; in a loop by its whole body, which may have run before; in a switch not by
//! the other cases.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Found, TaskDefs, branches, check_task_def, http, inert, limits, not_yet, numbers, scripts,
    secrets, types,
};
use crate::definition::scope::{TASK_FIELDS, WORKFLOW_FIELDS};
use crate::definition::task_type::TaskType;
use crate::definition::template::{Site, SiteReads, survey};
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

/// A walk through all tasks of a definition.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    def: &'a WorkflowDef,
    pub(super) task_defs: Option<&'a TaskDefs>,
    pub(super) found: &'a mut Found,
    /// Where each reference name was seen first.
    pub(super) names: BTreeMap<&'a str, String>,
    /// Names that can have run, less those of `barred`.
    seen: BTreeSet<&'a str>,
    /// Names among `seen` that cannot have run for the task looked at.
    barred: BTreeSet<&'a str>,
    loops: usize,
}

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// What a worker is handed, or an HTTP task of the engine's.
    HandedOut,
    /// Any other input.
    Input,
    Output,
}

impl Place {
    pub(super) const fn of_input(of: &TaskType) -> Self {
        if secrets::is_handed_out(of) { Self::HandedOut } else { Self::Input }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        def: &'a WorkflowDef,
        task_defs: Option<&'a TaskDefs>,
        found: &'a mut Found,
    ) -> Self {
        Self {
            def,
            task_defs,
            found,
            names: BTreeMap::new(),
            seen: BTreeSet::new(),
            barred: BTreeSet::new(),
            loops: 0,
        }
    }

    /// Checks every reference name, nested ones too. Comes before the walk.
    pub(super) fn check_names(&mut self, tasks: &'a [WorkflowTask], path: &str) {
        for (index, task) in tasks.iter().enumerate() {
            let step = format!("{path}[{index}]");
            let at = format!("{step}.taskReferenceName");
            let name = task.task_reference_name.as_str();
            self.found.check_name(&at, name);
            if name.contains("__") {
                let hint = "is kept for iterations of a loop: rename the task";
                self.found.add(&at, format!("{name:?}: `__` {hint}"));
            }
            if matches!(name, "workflow" | "CPEWF_TASK_ID") {
                self.found.add(&at, format!("{name:?} has a meaning of its own in expressions"));
            }
            match self.names.get(name) {
                Some(first) if !name.is_empty() => {
                    let message = format!("{name:?} is used already at {first}: rename one");
                    self.found.add(at, message);
                }
                _ => {
                    self.names.insert(name, step.clone());
                }
            }
            for (path, tasks) in branches(task, &step) {
                self.check_names(tasks, &path);
            }
        }
    }

    /// Checks tasks that follow each other.
    pub(super) fn check_sequence(&mut self, tasks: &'a [WorkflowTask], path: &str) {
        for (index, task) in tasks.iter().enumerate() {
            let step = format!("{path}[{index}]");
            if task.task_type == TaskType::DoWhile {
                self.see_all(task);
            }
            self.check_step(task, &step);
            let before = index.checked_sub(1).and_then(|before| tasks.get(before));
            self.check_join(task, before, &step);
            if task.task_type == TaskType::ForkJoin
                && tasks.get(index + 1).is_none_or(|next| next.task_type != TaskType::Join)
            {
                self.found.add(&step, "a FORK_JOIN is followed by a JOIN: add one behind it");
            }
            let name = task.task_reference_name.as_str();
            self.seen.insert(name);
            self.barred.remove(name);
            self.check_branches(task, &step);
        }
    }

    fn check_branches(&mut self, task: &'a WorkflowTask, step: &str) {
        let looping = usize::from(task.task_type == TaskType::DoWhile);
        self.loops += looping;
        if task.task_type == TaskType::ForkJoin {
            self.see_all(task);
        }
        let mut other_cases = Vec::new();
        for (path, tasks) in branches(task, step) {
            let mut inside = BTreeSet::new();
            names_of(tasks, &mut inside);
            if self.loops == 0 && task.task_type == TaskType::ForkJoin {
                self.barred.extend(&inside);
            }
            self.check_sequence(tasks, &path);
            if self.loops == 0 && task.task_type != TaskType::ForkJoin {
                self.barred.extend(&inside);
                other_cases.extend(inside);
            } else if task.task_type == TaskType::ForkJoin {
                other_cases.extend(inside);
            }
        }
        for name in other_cases {
            self.barred.remove(name);
        }
        self.loops -= looping;
    }

    fn see_all(&mut self, container: &'a WorkflowTask) {
        self.seen.insert(&container.task_reference_name);
        for (_, tasks) in branches(container, "") {
            names_of(tasks, &mut self.seen);
        }
    }

    fn check_step(&mut self, task: &'a WorkflowTask, step: &str) {
        self.found.check_task_name(&format!("{step}.name"), &task.name);
        numbers::check_step(self.found, task, step);
        types::check_idle_fields(self.found, task, step);
        let registered = self.task_defs.and_then(|defs| defs.get(&task.name));
        let task_def = task.task_definition.as_deref().or(registered);
        let input_template = task_def.map(|def| &def.input_template);
        let known = types::check_known(self.found, task, step, self.task_defs);
        inert::note_step(self.found, task, step);
        let named = task_def.map(|def| def.runtime_metadata.as_slice()).unwrap_or_default();
        secrets::note_step(self.found, task, named, step);
        inert::note_times(self.found, task, task_def, step);
        if self.task_defs.is_some() {
            limits::check_step(self.found, task, step, self.task_defs);
        }
        if not_yet::check_step(self.found, task, step) && known {
            types::check_required(self.found, task, step, input_template);
            scripts::check(self.found, task, step);
            http::check(self.found, task, step);
        }
        if let Some(inline) = task.task_definition.as_deref() {
            let response_timeout_min = i64::from(task.task_type == TaskType::Simple);
            let path = format!("{step}.taskDefinition");
            check_task_def(self.found, inline, &path, response_timeout_min);
        }
        let place = Place::of_input(&task.task_type);
        self.check_map(&task.input_parameters, &format!("{step}.inputParameters"), place);
        if let Some(defaults) = input_template {
            let mut used = defaults.clone();
            used.retain(|key, _| !task.input_parameters.contains_key(key));
            self.check_defaults(used, &format!("{step}.taskDefinition.inputTemplate"), place);
        }
        if let Some(sink) = &task.sink {
            let sink = Value::String(sink.clone());
            self.check_value(&sink, &format!("{step}.sink"), Place::Input);
        }
    }

    /// Checks the output, in which every task may be read.
    pub(super) fn check_output(&mut self) {
        self.seen = self.names.keys().copied().collect();
        self.barred.clear();
        self.check_map(&self.def.output_parameters, "$.outputParameters", Place::Output);
    }

    pub(super) fn check_map(&mut self, map: &Map<String, Value>, path: &str, place: Place) {
        self.check_value(&Value::Object(map.clone()), path, place);
    }

    /// As `check_map`, less what was reported with the task definition itself.
    fn check_defaults(&mut self, defaults: Map<String, Value>, path: &str, place: Place) {
        for site in survey(&Value::Object(defaults), path).0 {
            self.check_site(site, place);
        }
    }

    fn check_value(&mut self, value: &Value, path: &str, place: Place) {
        let (sites, faults) = survey(value, path);
        for fault in faults {
            self.found.add(fault.path, fault.message);
        }
        for site in sites {
            self.check_site(site, place);
        }
    }

    fn check_site(&mut self, site: Site, place: Place) {
        let message = match site.reads {
            SiteReads::Blank => Some("`${}` is empty: name what to read".to_owned()),
            SiteReads::TaskId if place == Place::Output => {
                Some("`${CPEWF_TASK_ID}` names a task, and here is none: remove it".to_owned())
            }
            SiteReads::Secret if place != Place::HandedOut => {
                return self.found.note(site.path, secrets::PASSED_ON);
            }
            SiteReads::TaskId | SiteReads::Dynamic | SiteReads::Secret => None,
            SiteReads::Path { root, field } => self.fault_of_path(&root, field.as_deref()),
        };
        if let Some(message) = message {
            self.found.add(site.path, message);
        }
    }

    fn fault_of_path(&self, root: &str, field: Option<&str>) -> Option<String> {
        let fields: &[&str] = if root == "workflow" {
            match field {
                Some("secrets") => {
                    let hint = "write `${workflow.secrets.NAME}` by itself";
                    return Some(format!("data or a filter cannot read a secret: {hint}"));
                }
                Some("env") => return None,
                _ => &WORKFLOW_FIELDS,
            }
        } else if !self.names.contains_key(root) {
            return Some(match field {
                Some(_) => format!(
                    "no task has the reference name {root:?}: correct the name or add the task"
                ),
                None => format!(
                    "{root:?} is no reference name, and environment variables cannot be read: \
                     pass the value in the workflow's input"
                ),
            });
        } else if !self.seen.contains(root) || self.barred.contains(root) {
            return Some(format!(
                "task {root:?} cannot have run yet: read a task that comes before this one"
            ));
        } else {
            &TASK_FIELDS
        };
        let field = field.filter(|field| !fields.contains(field))?;
        Some(format!("{root:?} has no field {field:?}: it has {}", fields.join(", ")))
    }

    /// A JOIN waits for what was, or may be, reached before it; after a dynamic fork its list is
    /// filled later.
    fn check_join(&mut self, task: &WorkflowTask, before: Option<&WorkflowTask>, step: &str) {
        let filled_later = before.is_some_and(|b| b.task_type == TaskType::ForkJoinDynamic);
        if task.task_type != TaskType::Join || filled_later {
            return;
        }
        for (index, name) in task.join_on.iter().enumerate() {
            if !self.seen.contains(name.as_str()) {
                let hint = "name a task before this JOIN or beside it";
                self.found.add(
                    format!("{step}.joinOn[{index}]"),
                    format!("no task {name:?} can be reached while it waits: {hint}"),
                );
            }
        }
    }
}

fn names_of<'a>(tasks: &'a [WorkflowTask], names: &mut BTreeSet<&'a str>) {
    for task in tasks {
        names.insert(&task.task_reference_name);
        for (_, tasks) in branches(task, "") {
            names_of(tasks, names);
        }
    }
}
