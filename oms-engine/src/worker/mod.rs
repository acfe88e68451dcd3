//! Tasks, and how they are run.

mod context;
mod task;

pub use context::{LOG_LINES_MAX, TaskContext};
pub use task::{Task, TaskError, TransactionalTask};
