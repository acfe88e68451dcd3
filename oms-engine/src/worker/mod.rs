//! Tasks, and how they are run.

mod context;
mod execute;
mod lease;
mod registry;
mod task;
mod transactional;

pub use context::{LOG_LINES_MAX, TaskContext};
pub(crate) use execute::LocalWorkers;
pub(crate) use registry::Registry;
pub use task::{Task, TaskError, TransactionalTask};
pub(crate) use transactional::Transactions;
