//! Tasks by name, with their types taken off.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Transaction;

use crate::definition::KEY_MAX_BYTES;
use crate::error::Error;

use super::{Task, TaskContext, TaskError, TransactionalTask};

#[async_trait]
pub(crate) trait ErasedTask: Send + Sync {
    async fn run(&self, cx: &TaskContext, input: &Value) -> Result<Value, TaskError>;
}

#[async_trait]
pub(crate) trait ErasedTransactionalTask: Send + Sync {
    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: &Value,
    ) -> Result<Value, TaskError>;
}

/// A task without its types.
#[derive(Clone)]
pub(crate) enum AnyTask {
    Plain(Arc<dyn ErasedTask>),
    Transactional(Arc<dyn ErasedTransactionalTask>),
}

impl std::fmt::Debug for AnyTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Transactional(_) => "Transactional",
        })
    }
}

struct Plain<T>(T);
struct Transactional<T>(T);

fn read<T: DeserializeOwned>(input: &Value) -> Result<T, TaskError> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let (path, error) = (error.path(), error.inner());
        TaskError::terminal(format!("its input does not fit the task's type at {path}: {error}"))
    })
}

fn write(output: &impl serde::Serialize) -> Result<Value, TaskError> {
    serde_json::to_value(output).map_err(|error| {
        TaskError::terminal(format!("its output cannot be written as JSON: {error}"))
    })
}

#[async_trait]
impl<T: Task> ErasedTask for Plain<T> {
    async fn run(&self, cx: &TaskContext, input: &Value) -> Result<Value, TaskError> {
        let output = self.0.run(cx, read(input)?).await?;
        write(&output)
    }
}

#[async_trait]
impl<T: TransactionalTask> ErasedTransactionalTask for Transactional<T> {
    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: &Value,
    ) -> Result<Value, TaskError> {
        let output = self.0.run(cx, tx, read(input)?).await?;
        write(&output)
    }
}

/// The tasks that this process runs.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tasks: BTreeMap<String, (AnyTask, Option<usize>)>,
}

impl Registry {
    pub(crate) fn add<T: Task>(&mut self, task: T) {
        self.insert(T::NAME, AnyTask::Plain(Arc::new(Plain(task))));
    }

    pub(crate) fn add_transactional<T: TransactionalTask>(&mut self, task: T) {
        self.insert(T::NAME, AnyTask::Transactional(Arc::new(Transactional(task))));
    }

    fn insert(&mut self, name: &str, task: AnyTask) {
        let limit = self.tasks.get(name).and_then(|(_, limit)| *limit);
        self.tasks.insert(name.to_owned(), (task, limit));
    }

    /// Refuses names that no task definition can have.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for name in self.tasks.keys() {
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
        self.tasks.contains_key(name)
    }

    /// False: there is no such task.
    pub(crate) fn limit(&mut self, name: &str, concurrency: usize) -> bool {
        match self.tasks.get_mut(name) {
            Some((_, limit)) => {
                *limit = Some(concurrency);
                true
            }
            None => false,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&AnyTask> {
        self.tasks.get(name).map(|(task, _)| task)
    }

    /// Each queue with the number of tasks that may run at once.
    pub(crate) fn queues(&self, overall: usize) -> BTreeMap<String, usize> {
        self.tasks
            .iter()
            .map(|(name, (_, limit))| (name.clone(), limit.unwrap_or(overall)))
            .collect()
    }
}
