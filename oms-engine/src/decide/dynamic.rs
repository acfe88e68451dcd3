//! Steps that data decides: dynamic tasks, the branches of dynamic forks, times to wait for, and
//! what had ended before it is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::branches::{Forked, tasks_of};
use super::flow::{After, Place, Walk};
use super::graph::{Branch, Graph};
use super::node::{BranchesFrom, Node};
use super::reads::mark;
use super::schedule::{NoInput, unfit};
use super::status::{TaskStatus, WorkflowStatus};
use super::{DecideError, End, Scope, Wait};
use crate::definition::{
    Payload, TaskDef, WorkflowTask, check_brought_secrets, parse_duration, parse_until,
    validate_branch,
};

impl Walk<'_> {
    /// Ends the run for what no task can be made of.
    pub(super) fn refuse(&mut self, place: &Place, reason: String) -> Result<(), DecideError> {
        self.check_end(place)?;
        if self.out.end.is_some() {
            return Ok(());
        }
        self.refused = true;
        self.state.turn(WorkflowStatus::Failed, Some(reason.clone()));
        let output = super::output_of(self.plan, self.state, None).map(Some);
        self.out.end = Some(End::with(WorkflowStatus::Failed, output, Some(reason), None));
        if let Some(first) = self.together_from {
            self.out.scheduled.truncate(first);
        }
        Ok(())
    }

    /// A task definition that the definition does not name. Err: the caller must look first.
    fn task_def(&self, name: &str) -> Result<Option<&TaskDef>, DecideError> {
        match self.state.task_defs.get(name) {
            Some(def) => Ok(def.as_ref()),
            None => Err(DecideError::NeedsTaskDefs(BTreeSet::from([name.to_owned()]))),
        }
    }

    pub(super) fn open_dynamic(
        &mut self,
        place: &Place,
        attempt: i16,
        key: &str,
        input: Payload,
    ) -> Result<(), DecideError> {
        let name = input.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
        let Some(name) = name.map(ToOwned::to_owned) else {
            let reason = format!(
                "Cannot map a dynamic task based on the parameter and input. Parameter={key}, \
                 input={}",
                crate::definition::java_text(&input)
            );
            return self.refuse(place, reason);
        };
        let Some(def) = self.task_def(&name)?.cloned() else {
            let reason = format!(
                "Invalid task specified. Cannot find task by name {name} in the task definitions"
            );
            return self.refuse(place, reason);
        };
        let node = Arc::new(place.node.as_dynamic(&name, &def));
        let place = Place { node, ..place.clone() };
        let delay = Duration::from_millis(u64::try_from(place.node.start_delay_ms).unwrap_or(0));
        let wait = if attempt > 0 || delay.is_zero() { Wait::Now } else { Wait::For(delay) };
        if let Some(reason) = unfit(&place.node, &input) {
            return self.fail_at_once(&place, attempt, NoInput { input, reason, over: None });
        }
        self.open(&place, attempt, wait, input);
        if let Some(scheduled) = self.out.scheduled.last_mut() {
            scheduled.task_def = Some(Arc::new(def));
        }
        Ok(())
    }

    pub(super) fn open_wait(
        &mut self,
        place: &Place,
        attempt: i16,
        input: Payload,
    ) -> Result<(), DecideError> {
        let text = |key: &str| {
            let value = input.get(key).filter(|value| !value.is_null());
            value.map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let wait = match (given(text("duration")), given(text("until"))) {
            (Some(_), Some(_)) => {
                Err("Both 'duration' and 'until' specified. Please provide only \
                                       one"
                .to_owned())
            }
            (Some(duration), None) => parse_duration(&duration).map(|duration| {
                if duration.is_zero() {
                    Wait::For(Duration::from_millis(1))
                } else {
                    Wait::For(duration)
                }
            }),
            (None, Some(until)) => parse_until(&until).map(Wait::Until),
            (None, None) => Ok(Wait::Signal),
        };
        match wait {
            Ok(wait) => {
                self.open(place, attempt, wait, input);
                Ok(())
            }
            Err(reason) => {
                let entry = self.push(place, attempt, input.clone());
                let status = TaskStatus::FailedWithTerminalError;
                let after = After { input: Some(input), ..After::failed(attempt, status, reason) };
                self.judge(Some(entry), place, &after)
            }
        }
    }

    pub(super) fn fork_dynamic(
        &mut self,
        place: &Place,
        attempt: i16,
        from: &BranchesFrom,
        input: &Value,
    ) -> Result<(), DecideError> {
        let mut input = input.clone();
        let tasks = match tasks_of(from, &input, place) {
            Ok(tasks) => tasks,
            Err(reason) => return self.refuse(place, reason),
        };
        let branches = match self.compile_branches(place, &tasks)? {
            Ok(branches) => branches,
            Err(reason) => return self.refuse(place, reason),
        };
        let names: Vec<&str> =
            tasks.iter().map(|(task, _)| task.task_reference_name.as_str()).collect();
        let on: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        if let Some(input) = input.as_object_mut() {
            input.insert("forkedTasks".to_owned(), json!(names));
            let texts: Vec<Value> = tasks.iter().map(|task| json!(with_input(task))).collect();
            input.insert("forkedTaskDefs".to_owned(), Value::Array(texts));
        }
        let input = Payload::from(input);
        self.push(place, attempt, input.clone());
        self.keep_fork(place, attempt, input)?;
        let join = place.node.next.and_then(|next| self.graph(place).get(next).cloned());
        let Some(join) = join else {
            return Err(DecideError::UnknownReference(place.name().to_string()));
        };
        let join = Place { node: join, ..place.clone() };
        let key = self.new_container(&join, branches.len());
        for branch in branches {
            let Some(node) = branch.graph.get(0).cloned() else { continue };
            let (scope, branch) = (Scope::Opened(key), Some(branch));
            self.schedule(Place { node, scope, branch, ..place.clone() })?;
        }
        if self.refused {
            return Ok(());
        }
        self.open_join(key, &join, &on)
    }

    /// The branches as graphs of their own, or why they cannot be.
    pub(super) fn compile_branches(
        &self,
        place: &Place,
        tasks: &[Forked],
    ) -> Result<Result<Vec<Arc<Branch>>, String>, DecideError> {
        let mut seen = BTreeSet::new();
        let mut missing = BTreeSet::new();
        for forked in tasks {
            let task = &forked.0;
            let name = task.task_reference_name.as_str();
            let checked = check_brought_secrets(task);
            if let Err(faults) = checked.and_then(|()| validate_branch(&with_input(forked))) {
                return Ok(Err(faults.to_string()));
            }
            if name.is_empty() {
                return Ok(Err("One of the tasks had a null/missing taskReferenceName".to_owned()));
            }
            let undo = task.undo_task().map(|undo| undo.task_reference_name);
            for name in [Some(name.to_owned()), undo].into_iter().flatten() {
                if self.plan.graph.index_of(&name).is_some() || !seen.insert(name.clone()) {
                    return Ok(Err(format!(
                        "Dynamic Fork Task {:?} attempted to create a duplicate task reference \
                         name: {name}",
                        place.name()
                    )));
                }
            }
            for name in names_in(task) {
                if !self.state.task_defs.contains_key(name) {
                    missing.insert(name.to_owned());
                }
            }
        }
        if !missing.is_empty() {
            return Err(DecideError::NeedsTaskDefs(missing));
        }
        Ok(tasks.iter().map(|task| self.compile_branch(place, task)).collect())
    }

    fn compile_branch(&self, place: &Place, (task, input): &Forked) -> Result<Arc<Branch>, String> {
        let named = names_in(task)
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.state.task_defs.get(name)?.clone()?)));
        let task_defs: BTreeMap<String, TaskDef> = named.collect();
        Branch::compile(task, input, &task_defs, place.turns.len()).map(Arc::new)
    }
}

impl Node {
    /// A DYNAMIC step as the task definition that it was found to have makes it.
    pub(crate) fn as_dynamic(&self, name: &str, def: &TaskDef) -> Self {
        let task = WorkflowTask {
            name: name.to_owned(),
            retry_count: self.retry_count,
            ..WorkflowTask::default()
        };
        let mut node = self.clone();
        node.run_under(&task, def);
        node.task_type = Arc::from(name);
        node.task_name = Arc::from(name);
        node
    }
}

impl Branch {
    /// Compiles the one step of a branch, which may have others inside.
    pub(crate) fn compile(
        task: &WorkflowTask,
        input: &Map<String, Value>,
        task_defs: &BTreeMap<String, TaskDef>,
        loops: usize,
    ) -> Result<Self, String> {
        let (mut graph, faults) =
            Graph::compile(std::slice::from_ref(task), task_defs, loops, true);
        if let Some(fault) = faults.first() {
            return Err(fault.to_string());
        }
        if let Some(first) = graph.nodes.first_mut() {
            let mut node = Node::clone(first);
            node.input = node.input.with_literal(input.clone());
            *first = Arc::new(node);
        }
        mark(&mut graph);
        let text = Arc::new(json!({
            "task": task, "input": input, "taskDefinitions": task_defs, "loops": loops,
        }));
        Ok(Self { graph, text })
    }

    /// Reads what was stored.
    pub(crate) fn read(text: &Value) -> Result<Self, String> {
        let read = |key: &str| text.get(key).cloned().unwrap_or_default();
        let task: WorkflowTask =
            serde_json::from_value(read("task")).map_err(|error| error.to_string())?;
        let input: Map<String, Value> =
            serde_json::from_value(read("input")).map_err(|error| error.to_string())?;
        let task_defs: BTreeMap<String, TaskDef> =
            serde_json::from_value(read("taskDefinitions")).map_err(|error| error.to_string())?;
        let loops = read("loops").as_u64().and_then(|loops| usize::try_from(loops).ok());
        Self::compile(&task, &input, &task_defs, loops.unwrap_or(0))
    }
}

/// A forked task as it is shown.
fn with_input((task, input): &Forked) -> WorkflowTask {
    let mut task = task.clone();
    task.input_parameters.extend(input.clone());
    task
}

/// The names of the task definitions that a step and those in it go by.
fn names_in(task: &WorkflowTask) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut tasks = vec![task];
    while let Some(task) = tasks.pop() {
        if task.task_definition.is_none() && !task.name.is_empty() {
            names.insert(task.name.as_str());
        }
        tasks.extend(task.decision_cases.values().flatten());
        tasks.extend(&task.default_case);
        tasks.extend(task.fork_tasks.iter().flatten());
        tasks.extend(&task.loop_over);
        tasks.extend(task.compensation.as_deref());
    }
    names
}
