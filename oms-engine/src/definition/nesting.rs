//! Tasks in each other: how deep they may stand, and room on the stack for those that stand deep.
//!
//! Whatever walks a definition uses the stack, so that its depth is found out first, without one.

use serde_json::Value;

use super::faults::Fault;
use super::payload::{DEPTH_MAX, check_value, push_index, push_key};
use super::workflow_task::WorkflowTask;

/// How many tasks may stand in each other, the outermost counted. A task of a definition that is
/// written out in a `SUB_WORKFLOW` stands in that.
pub const NESTED_MAX: usize = 100;

/// How deep the text of a definition may be: a definition that is written out costs four levels,
/// and the innermost task has values of its own.
pub(super) const TEXT_DEPTH_MAX: usize = 3 + (NESTED_MAX - 1) * 4 + DEPTH_MAX;

/// How deep the text of a schedule may be, which may have a definition of its own.
pub(super) const SCHEDULE_DEPTH_MAX: usize = 2 + TEXT_DEPTH_MAX;

/// Tasks that stand so deep in each other are walked on the stack that there is.
const SHALLOW: usize = 16;
/// How deep the text of such tasks is.
const SHALLOW_TEXT: usize = SHALLOW * 3;

/// The stack of a thread that walks the others, in bytes; what is not used takes no memory.
const STACK: usize = 64 * 1024 * 1024;

/// Room on the stack, as much as a definition takes.
pub(crate) struct Room {
    deep: bool,
}

impl Room {
    /// For a text that is nested so deep.
    pub(super) const fn for_text(depth: usize) -> Self {
        Self { deep: depth > SHALLOW_TEXT }
    }

    /// Does work, on a thread of its own where the stack that there is may be too small.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn with<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Fault> {
        if !self.deep {
            return Ok(work());
        }
        let no_thread = |error: std::io::Error| {
            Fault::new("$", format!("there is no thread for a definition so deep: {error}"))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("oms-deep".to_owned()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, work).map_err(no_thread)?;
            thread.join().or_else(|thrown| std::panic::resume_unwind(thrown))
        })
    }
}

/// Room for tasks.
///
/// # Errors
/// They stand too deep in each other.
pub(super) fn room_for(tasks: &[WorkflowTask]) -> Result<Room, Fault> {
    Ok(Room { deep: deepest(tasks)? > SHALLOW })
}

/// Does work that goes into tasks as deep as they stand in each other.
///
/// # Errors
/// They stand too deep, or there is no thread to be had.
pub(crate) fn with_room_for<T: Send>(
    tasks: &[WorkflowTask],
    work: impl FnOnce() -> T + Send,
) -> Result<T, Fault> {
    room_for(tasks)?.with(work)
}

fn too_deep(path: String) -> Fault {
    let hint = "put some of them into a workflow of their own";
    Fault::new(path, format!("more than {NESTED_MAX} tasks stand in each other here: {hint}"))
}

/// How deep tasks stand in each other. A definition that is written out counts as deep, whatever
/// stands in it.
fn deepest(tasks: &[WorkflowTask]) -> Result<usize, Fault> {
    let mut deepest = 0;
    // The way to the task that is looked at.
    let mut way: Vec<String> = Vec::new();
    let mut rest = Vec::new();
    push_tasks(&mut rest, tasks, ".tasks", 1);
    while let Some((step, task, depth)) = rest.pop() {
        way.truncate(depth - 1);
        way.push(step);
        if depth > NESTED_MAX {
            return Err(too_deep(format!("${}", way.concat())));
        }
        deepest = deepest.max(depth);
        for (case, tasks) in &task.decision_cases {
            let mut list = ".decisionCases".to_owned();
            push_key(&mut list, case);
            push_tasks(&mut rest, tasks, &list, depth + 1);
        }
        push_tasks(&mut rest, &task.default_case, ".defaultCase", depth + 1);
        for (branch, tasks) in task.fork_tasks.iter().enumerate() {
            push_tasks(&mut rest, tasks, &format!(".forkTasks[{branch}]"), depth + 1);
        }
        push_tasks(&mut rest, &task.loop_over, ".loopOver", depth + 1);
        if let Some(undo) = task.compensation.as_deref() {
            rest.push((".compensation".to_owned(), undo, depth + 1));
        }
        let params = task.sub_workflow_param.as_ref();
        if params.and_then(|params| params.workflow_definition.as_ref()).is_some() {
            deepest = deepest.max(SHALLOW + 1);
        }
    }
    Ok(deepest)
}

fn push_tasks<'a>(
    rest: &mut Vec<(String, &'a WorkflowTask, usize)>,
    tasks: &'a [WorkflowTask],
    list: &str,
    depth: usize,
) {
    let tasks = tasks.iter().enumerate();
    rest.extend(tasks.map(|(index, task)| (format!("{list}[{index}]"), task, depth)));
}

/// What a part of a definition's, or a schedule's, JSON is.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Definition,
    Task,
    /// A list of tasks, a list of such lists, a map of such lists.
    Tasks,
    Branches,
    Cases,
    /// `subWorkflowParam`.
    Params,
    #[cfg(feature = "cron")]
    Schedule,
    /// `startWorkflowRequest` of a schedule.
    #[cfg(feature = "cron")]
    Start,
    /// Values, that are as deep as a payload may be.
    Plain,
}

impl Part {
    fn of_key(self, key: &str) -> Self {
        match (self, key) {
            (Self::Definition, "tasks") | (Self::Task, "loopOver" | "defaultCase") => Self::Tasks,
            (Self::Task, "forkTasks") => Self::Branches,
            (Self::Task, "decisionCases") => Self::Cases,
            (Self::Task, "compensation") => Self::Task,
            (Self::Task, "subWorkflowParam") => Self::Params,
            (Self::Params, "workflowDefinition") => Self::Definition,
            #[cfg(feature = "cron")]
            (Self::Start, "workflowDef") => Self::Definition,
            #[cfg(feature = "cron")]
            (Self::Schedule, "startWorkflowRequest") => Self::Start,
            (Self::Cases, _) => Self::Tasks,
            _ => Self::Plain,
        }
    }

    const fn of_item(self) -> Self {
        match self {
            Self::Tasks => Self::Task,
            Self::Branches => Self::Tasks,
            _ => Self::Plain,
        }
    }
}

/// Checks what a definition holds: tasks in each other, also in definitions that are written out,
/// and values. On an error `path` is left where the fault is.
pub(super) fn check_parts(
    value: &Value,
    part: Part,
    nested: usize,
    path: &mut String,
) -> Result<(), String> {
    let nested = nested + usize::from(matches!(part, Part::Task));
    if nested > NESTED_MAX {
        return Err(too_deep(String::new()).message);
    }
    let whole = path.len();
    match (part, value) {
        (Part::Tasks | Part::Branches, Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                push_index(path, index);
                check_parts(item, part.of_item(), nested, path)?;
                path.truncate(whole);
            }
            Ok(())
        }
        (Part::Tasks | Part::Branches | Part::Plain, _) => check_value(value, path),
        (_, Value::Object(map)) => {
            for (key, item) in map {
                push_key(path, key);
                if key.contains('\0') {
                    return Err("the key holds a NUL character: remove it".into());
                }
                check_parts(item, part.of_key(key), nested, path)?;
                path.truncate(whole);
            }
            Ok(())
        }
        _ => check_value(value, path),
    }
}

/// How deep a text is nested; nothing is parsed, so no stack is used.
///
/// # Errors
/// The path at which it passes the limit.
pub(super) fn depth_of_text(text: &str, limit: usize) -> Result<usize, String> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let (mut deepest, mut escaped) = (0, false);
    // Where the text in quotes that is read, or was read last, begins and ends.
    let (mut quoted, mut string) = (None, 0..0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted.is_some() => escaped = true,
            b'"' => match quoted.take() {
                Some(from) => string = from..at,
                None => quoted = Some(at + 1),
            },
            _ if quoted.is_some() => {}
            b'[' | b'{' if open.len() == limit => return Err(path_of(&open)),
            b'[' => open.push(Open::List(0)),
            b'{' => open.push(Open::Object("")),
            b']' | b'}' => drop(open.pop()),
            b':' => {
                if let Some(Open::Object(key)) = open.last_mut() {
                    *key = text.get(string.clone()).unwrap_or_default();
                }
            }
            b',' => {
                if let Some(Open::List(index)) = open.last_mut() {
                    *index += 1;
                }
            }
            _ => {}
        }
        deepest = deepest.max(open.len());
    }
    Ok(deepest)
}

/// A list or object that a text is in, and where in that.
enum Open<'a> {
    List(usize),
    Object(&'a str),
}

fn path_of(open: &[Open<'_>]) -> String {
    let mut path = "$".to_owned();
    for open in open {
        match open {
            Open::List(index) => push_index(&mut path, *index),
            Open::Object(key) => push_key(&mut path, key),
        }
    }
    path
}
