//! What a user implements: [`Task`], [`TransactionalTask`] and [`TransactionalBatchTask`], and what a
//! task may answer.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Transaction;

use super::TaskContext;
use crate::definition::TaskSchemas;
use crate::store::describe;

/// A task that runs at least once per attempt and whose result counts exactly once.
///
/// Effects on the outside world go under [`TaskContext::idempotency_key`].
///
/// ```
/// use oms_engine::{Task, TaskContext, TaskError};
///
/// struct Greet;
///
/// impl Task for Greet {
///     const NAME: &'static str = "greet";
///     type Input = serde_json::Value;
///     type Output = String;
///
///     async fn run(&self, _cx: &TaskContext, input: Self::Input) -> Result<String, TaskError> {
///         let name = input["name"].as_str().ok_or_else(|| TaskError::terminal("no name"))?;
///         Ok(format!("hello, {name}"))
///     }
/// }
/// ```
pub trait Task: Send + Sync + 'static {
    /// The task definition's name, which is also the queue's.
    const NAME: &'static str;
    /// Read from the task's input (a JSON object). An input that cannot be read fails the task
    /// terminally, with the place.
    type Input: DeserializeOwned + Send;
    /// Written as the task's output; what is no JSON object is put under the key `result`.
    type Output: Serialize + Send;

    /// The JSON Schemas of its types, if it publishes them: definitions are checked against them
    /// when they are registered. One line with the feature `schema`: see [`TaskSchemas`].
    #[must_use]
    fn schemas() -> Option<TaskSchemas> {
        None
    }

    /// Does the work.
    ///
    /// # Cancel safety
    /// The future is dropped when the task's lease is lost, its time is up or the engine is shut
    /// down past its grace; the attempt is then run again elsewhere.
    fn run(
        &self,
        cx: &TaskContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;
}

/// A task whose writes to the engine's database happen exactly once.
///
/// The writes made through `tx` and the end of the step commit together or not at all. No row of
/// the engine is locked while `run` works. `run` must neither commit nor roll back.
pub trait TransactionalTask: Send + Sync + 'static {
    /// The task definition's name, which is also the queue's.
    const NAME: &'static str;
    /// As [`Task::Input`].
    type Input: DeserializeOwned + Send;
    /// As [`Task::Output`].
    type Output: Serialize + Send;

    /// As [`Task::schemas`].
    #[must_use]
    fn schemas() -> Option<TaskSchemas> {
        None
    }

    /// Does the work inside `tx`. A serialization failure or deadlock repeats it within the same
    /// attempt; so does nothing else.
    fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;
}

/// As [`TransactionalTask`], for many tasks of one type in one transaction: with statements over sets,
/// a batch costs little more than a task.
///
/// Nobody waits for a batch to fill, unless `EngineBuilder::task_batch_wait` says so. A task that finds
/// none of its type under way begins at once, alone; those that come meanwhile are the next batch.
///
/// A batch commits in full or not at all, and a task fails only alone. Where `run` answers a task with
/// an error, or a task's lease was lost meanwhile, all is rolled back: that task is run again by
/// itself, and what it answers then counts; the others are run again without it. A batch that fails
/// as a whole, by an error or a panic, is halved until what fails stands alone. So `run` may answer
/// with an error whenever it cannot tell what a task would get by itself, and what it wrote for that
/// task before is gone.
///
/// Lock rows that batches share in an order of their own (`ORDER BY … FOR UPDATE` in a CTE), so that two
/// batches do not wait for each other; keep it short: all of them wait for the slowest.
///
/// ```
/// use oms_engine::tokio_postgres::Transaction;
/// use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
///
/// struct Greet;
///
/// impl TransactionalBatchTask for Greet {
///     const NAME: &'static str = "greet";
///     type Input = String;
///     type Output = i32;
///
///     async fn run(
///         &self,
///         tx: &Transaction<'_>,
///         tasks: Vec<(TaskContext, String)>,
///     ) -> Result<Vec<Result<i32, TaskError>>, TaskError> {
///         let names: Vec<&str> = tasks.iter().map(|(_, name)| name.as_str()).collect();
///         let sql = "INSERT INTO greeted (name) SELECT unnest($1::text[]) RETURNING length(name)";
///         let rows = tx.query(sql, &[&names]).await?;
///         Ok(rows.iter().map(|row| Ok(row.get(0))).collect())
///     }
/// }
/// ```
pub trait TransactionalBatchTask: Send + Sync + 'static {
    /// The task definition's name, which is also the queue's.
    const NAME: &'static str;
    /// As [`Task::Input`].
    type Input: DeserializeOwned + Send;
    /// As [`Task::Output`].
    type Output: Serialize + Send;

    /// As [`Task::schemas`].
    #[must_use]
    fn schemas() -> Option<TaskSchemas> {
        None
    }

    /// Does the work of all `tasks` inside `tx`, and answers each in its place. There is at least one,
    /// and they come in the order in which they were scheduled. An error in place of the answers says
    /// that the batch failed as a whole. A serialization failure or deadlock repeats it within the same
    /// attempts.
    ///
    /// # Cancel safety
    /// The future is dropped, and all is rolled back, when one of the tasks was canceled a while ago;
    /// the others are run again.
    fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Self::Input)>,
    ) -> impl Future<Output = Result<Vec<Result<Self::Output, TaskError>>, TaskError>> + Send;
}

/// Whoever can run tasks: an engine that is being built ([`EngineBuilder`](crate::EngineBuilder)), or the
/// worker of another transport. What registers your tasks with this serves them on either.
///
/// ```
/// use oms_engine::{Task, TaskContext, TaskError, TaskHost};
/// # struct Greet;
/// # impl Task for Greet {
/// #     const NAME: &'static str = "greet";
/// #     type Input = serde_json::Value;
/// #     type Output = ();
/// #     async fn run(&self, _: &TaskContext, _: Self::Input) -> Result<(), TaskError> { Ok(()) }
/// # }
///
/// fn register<H: TaskHost>(host: H) -> H {
///     host.task(Greet)
/// }
/// ```
pub trait TaskHost: Sized {
    /// Runs this task.
    #[must_use]
    fn task<T: Task>(self, task: T) -> Self;

    /// Runs this transactional task.
    #[must_use]
    fn transactional_task<T: TransactionalTask>(self, task: T) -> Self;

    /// Runs this task, many at once in one transaction where the host can.
    #[must_use]
    fn transactional_batch_task<T: TransactionalBatchTask>(self, task: T) -> Self;
}

/// How a task says that it did not complete.
///
/// Any error converts by `?` into one that is retried by the task definition's policy.
#[derive(Debug)]
pub struct TaskError {
    pub(crate) kind: TaskErrorKind,
    pub(crate) reason: String,
    pub(crate) output: Option<Value>,
    pub(crate) source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskErrorKind {
    Retry,
    RetryAfter(Duration),
    Terminal,
    InProgress(Option<Duration>),
}

impl TaskError {
    /// The attempt failed; the task definition's retry policy decides what follows (FAILED).
    #[expect(clippy::needless_pass_by_value, reason = "an error or a text, as the caller has it")]
    pub fn retry(reason: impl ToString) -> Self {
        Self::new(TaskErrorKind::Retry, reason.to_string())
    }

    /// As [`retry`](Self::retry), with this delay in place of the policy's.
    #[expect(clippy::needless_pass_by_value, reason = "an error or a text, as the caller has it")]
    pub fn retry_after(delay: Duration, reason: impl ToString) -> Self {
        Self::new(TaskErrorKind::RetryAfter(delay), reason.to_string())
    }

    /// No attempt can succeed: the step fails for good (`FAILED_WITH_TERMINAL_ERROR`).
    #[expect(clippy::needless_pass_by_value, reason = "an error or a text, as the caller has it")]
    pub fn terminal(reason: impl ToString) -> Self {
        Self::new(TaskErrorKind::Terminal, reason.to_string())
    }

    /// Not done yet: the same attempt is handed out again after `callback_after`
    /// (Conductor's `IN_PROGRESS` with `callbackAfterSeconds`).
    #[must_use]
    pub fn in_progress(callback_after: Duration) -> Self {
        Self::new(TaskErrorKind::InProgress(Some(callback_after)), String::new())
    }

    /// Done as far as it goes: the attempt stays open until it is ended from outside.
    #[cfg(feature = "http")]
    pub(crate) fn waits() -> Self {
        Self::new(TaskErrorKind::InProgress(None), String::new())
    }

    /// Adds an output that is kept with the attempt.
    #[must_use]
    pub fn with_output(mut self, output: Value) -> Self {
        self.output = Some(output);
        self
    }

    /// What is stored as the attempt's `reasonForIncompletion`.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether no further attempt will be made.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.kind == TaskErrorKind::Terminal
    }

    /// After which time the same attempt is to be handed out again, of one that is not done yet; for
    /// transports.
    #[must_use]
    pub fn callback_after(&self) -> Option<Duration> {
        match self.kind {
            TaskErrorKind::InProgress(after) => after,
            TaskErrorKind::Retry | TaskErrorKind::RetryAfter(_) | TaskErrorKind::Terminal => None,
        }
    }

    /// What is kept with the attempt.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        self.output.as_ref()
    }

    /// The error that [`From`] was given.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    /// The database's error among the causes, however deep.
    pub(crate) fn database_cause(&self) -> Option<&tokio_postgres::Error> {
        let mut cause: Option<&(dyn StdError + 'static)> = match &self.source {
            Some(source) => Some(&**source),
            None => None,
        };
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    fn new(kind: TaskErrorKind, reason: String) -> Self {
        Self { kind, reason, output: None, source: None }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let reason = in_full(&error);
        Self { source: Some(Box::new(error)), ..Self::new(TaskErrorKind::Retry, reason) }
    }
}

/// An error and its causes, none of them twice.
fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let database = cause.downcast_ref::<tokio_postgres::Error>();
        let part = database.map_or_else(|| cause.to_string(), describe);
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        // What the server said has been said.
        let said = database.is_some_and(|error| error.as_db_error().is_some());
        next = if said { None } else { cause.source() };
    }
    text
}
