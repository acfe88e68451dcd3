//! Tasks by name, with their types taken off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tokio_postgres::Transaction;

use crate::definition::{KEY_MAX_BYTES, Payload, TaskSchemas};
use crate::error::Error;
use crate::queue::OfQueue;

use super::gather::BatchSize;
use super::pace::Pace;
use super::{Serving, Task, TaskContext, TaskError, TransactionalBatchTask, TransactionalTask};

#[async_trait]
pub(crate) trait ErasedTask: Send + Sync + 'static {
    /// Whoever begins it need not be who runs it to its end.
    async fn run(self: Arc<Self>, cx: TaskContext, input: Payload) -> Result<Payload, TaskError>;
}

#[async_trait]
pub(crate) trait ErasedTransactionalTask: Send + Sync {
    /// An answer for each, in their order.
    async fn run(&self, tx: &Transaction<'_>, tasks: Vec<Handed>) -> Answers;
}

/// What a task is handed.
pub(crate) type Handed = (TaskContext, Payload);
/// Of each task its own; or that all failed.
pub(crate) type Answers = Result<Vec<Result<Payload, TaskError>>, TaskError>;

/// Tasks in one transaction, unless the user says otherwise.
const BATCH_DEFAULT: BatchSize = BatchSize { largest: 100, wait: Duration::ZERO };
/// Tasks in one transaction at most.
pub(crate) const BATCH_MAX: usize = 500;

/// A task without its types.
#[derive(Clone)]
pub(crate) enum AnyTask {
    Plain(Arc<dyn ErasedTask>),
    Transactional(Arc<dyn ErasedTransactionalTask>),
    /// With how many of it go in one transaction.
    Batch(Arc<dyn ErasedTransactionalTask>, BatchSize),
}

impl std::fmt::Debug for AnyTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Transactional(_) => "Transactional",
            Self::Batch(..) => "Batch",
        })
    }
}

struct Plain<T>(T);
struct Transactional<T>(T);
struct Batch<T>(T);

fn read<T: DeserializeOwned>(cx: &TaskContext, input: &Payload) -> Result<T, TaskError> {
    // The way to a fault is looked for once there is one.
    if let Ok(input) = input.read() {
        return Ok(input);
    }
    serde_path_to_error::deserialize(&**input).map_err(|error| {
        let (path, error) = (error.path(), error.inner());
        let at = format!("its input does not fit the task's type at {path}");
        // The error quotes what it met.
        let secret = !cx.hidden().is_empty();
        TaskError::terminal(if secret { at } else { format!("{at}: {error}") })
    })
}

fn write(output: &impl serde::Serialize) -> Result<Payload, TaskError> {
    Payload::write(output).map_err(|error| {
        TaskError::terminal(format!("its output cannot be written as JSON: {error}"))
    })
}

#[async_trait]
impl<T: Task> ErasedTask for Plain<T> {
    async fn run(self: Arc<Self>, cx: TaskContext, input: Payload) -> Result<Payload, TaskError> {
        let input = read(&cx, &input)?;
        let output = self.0.run(&cx, input).await?;
        write(&output)
    }
}

#[async_trait]
impl<T: TransactionalTask> ErasedTransactionalTask for Transactional<T> {
    async fn run(&self, tx: &Transaction<'_>, tasks: Vec<Handed>) -> Answers {
        let mut answers = Vec::with_capacity(tasks.len());
        for (cx, input) in tasks {
            let output = self.0.run(&cx, tx, read(&cx, &input)?).await?;
            answers.push(write(&output));
        }
        Ok(answers)
    }
}

#[async_trait]
impl<T: TransactionalBatchTask> ErasedTransactionalTask for Batch<T> {
    async fn run(&self, tx: &Transaction<'_>, tasks: Vec<Handed>) -> Answers {
        let (mut answers, mut readable) = (Vec::with_capacity(tasks.len()), Vec::new());
        for (cx, input) in tasks {
            let read = read(&cx, &input);
            answers.push(read.map(|input| readable.push((cx, input))));
        }
        let n = readable.len();
        let given = if n == 0 { Vec::new() } else { self.0.run(tx, readable).await? };
        if given.len() != n {
            let why = format!("it answered {} of {n} tasks", given.len());
            return Err(TaskError::terminal(why));
        }
        let mut given = given.into_iter();
        let answer = |read: Result<(), TaskError>| {
            read?;
            let given = given.next().unwrap_or_else(|| Err(TaskError::terminal("no answer")));
            write(&given?)
        };
        Ok(answers.into_iter().map(answer).collect())
    }
}

/// The tasks that this process runs, by queue.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tasks: BTreeMap<String, Registered>,
    /// Two names that make one queue.
    clash: Option<(String, String)>,
    /// What tasks publish of their types, by name.
    schemas: BTreeMap<String, TaskSchemas>,
}

#[derive(Debug)]
struct Registered {
    name: String,
    serving: Serving,
    task: AnyTask,
    limit: Option<usize>,
    pace: Pace,
}

impl Registry {
    pub(crate) fn add<T: Task>(&mut self, task: T, serving: Serving) {
        self.publish(T::NAME, T::schemas());
        self.insert(T::NAME, serving, AnyTask::Plain(Arc::new(Plain(task))));
    }

    pub(crate) fn add_transactional<T: TransactionalTask>(&mut self, task: T, serving: Serving) {
        self.publish(T::NAME, T::schemas());
        self.insert(T::NAME, serving, AnyTask::Transactional(Arc::new(Transactional(task))));
    }

    pub(crate) fn add_batch<T: TransactionalBatchTask>(&mut self, task: T, serving: Serving) {
        self.publish(T::NAME, T::schemas());
        self.insert(T::NAME, serving, AnyTask::Batch(Arc::new(Batch(task)), BATCH_DEFAULT));
    }

    fn publish(&mut self, name: &str, schemas: Option<TaskSchemas>) {
        match schemas {
            Some(schemas) => self.schemas.insert(name.to_owned(), schemas),
            None => self.schemas.remove(name),
        };
    }

    /// What tasks publish of their types.
    pub(crate) fn schemas(&self) -> BTreeMap<String, TaskSchemas> {
        self.schemas.clone()
    }

    fn insert(&mut self, name: &str, serving: Serving, task: AnyTask) {
        let queue = serving.queue(name);
        let registered =
            Registered { name: name.to_owned(), serving, task, limit: None, pace: Pace::default() };
        let before = self.tasks.insert(queue, registered);
        if let Some(before) = before.filter(|before| before.name != name) {
            self.clash = Some((before.name, name.to_owned()));
        }
    }

    /// Puts another task in the place of each.
    #[cfg(feature = "testkit")]
    pub(crate) fn wrap(&mut self, wrap: impl Fn(&str, AnyTask) -> AnyTask) {
        for registered in self.tasks.values_mut() {
            registered.task = wrap(&registered.name, registered.task.clone());
        }
    }

    /// Refuses names that no task definition can have.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some((a, b)) = &self.clash {
            return Err(Error::Config(format!(
                "tasks {a:?} and {b:?} come to one queue where they are registered: rename one"
            )));
        }
        for Registered { name, serving, .. } in self.tasks.values() {
            serving.check()?;
            let kept = name.trim().is_empty() || name.starts_with('$') || name.contains('\0');
            if kept || name.len() > KEY_MAX_BYTES {
                return Err(Error::Config(format!(
                    "task name {name:?}: use 1 to {KEY_MAX_BYTES} bytes without NUL that do not begin with $"
                )));
            }
        }
        Ok(())
    }

    /// Whether there is such a task.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tasks.values().any(|registered| registered.name == name)
    }

    /// False: there is no such task.
    pub(crate) fn limit(&mut self, name: &str, concurrency: usize) -> bool {
        let mut found = false;
        for registered in self.tasks.values_mut().filter(|registered| registered.name == name) {
            registered.limit = Some(concurrency);
            found = true;
        }
        found
    }

    /// False: there is no such task that does many at once.
    pub(crate) fn batch_size(&mut self, name: &str, set: impl Fn(&mut BatchSize)) -> bool {
        let mut found = false;
        for registered in self.tasks.values_mut().filter(|registered| registered.name == name) {
            if let AnyTask::Batch(_, size) = &mut registered.task {
                set(size);
                found = true;
            }
        }
        found
    }

    pub(crate) fn get(&self, queue: &str) -> Option<&AnyTask> {
        self.tasks.get(queue).map(|registered| &registered.task)
    }

    /// With how tasks of it have gone.
    pub(super) fn get_paced(&self, queue: &str) -> Option<(&AnyTask, &Pace)> {
        self.tasks.get(queue).map(|registered| (&registered.task, &registered.pace))
    }

    /// The task types and domains that are served here, and each queue with no domain.
    pub(crate) fn domains(&self) -> Vec<(String, String)> {
        let domain = |registered: &Registered| {
            let domain = registered.serving.domain_name()?;
            Some((registered.name.clone(), domain.to_owned()))
        };
        let queues = self.tasks.keys().map(|queue| (queue.clone(), String::new()));
        self.tasks.values().filter_map(domain).chain(queues).collect()
    }

    /// Each queue with the number of tasks that may run at once.
    pub(crate) fn queues(&self, overall: usize) -> BTreeMap<String, OfQueue> {
        let of = |(queue, registered): (&String, &Registered)| {
            let free = registered.limit.unwrap_or(overall);
            (queue.clone(), OfQueue { free, name: registered.name.clone() })
        };
        self.tasks.iter().map(of).collect()
    }
}
