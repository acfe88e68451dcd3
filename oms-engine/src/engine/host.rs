//! An engine that is being built as one of those that run tasks.

use super::EngineBuilder;
use crate::worker::{Task, TaskHost, TransactionalBatchTask, TransactionalTask};

impl TaskHost for EngineBuilder {
    fn task<T: Task>(self, task: T) -> Self {
        Self::task(self, task)
    }

    fn transactional_task<T: TransactionalTask>(self, task: T) -> Self {
        Self::transactional_task(self, task)
    }

    fn transactional_batch_task<T: TransactionalBatchTask>(self, task: T) -> Self {
        Self::transactional_batch_task(self, task)
    }
}
