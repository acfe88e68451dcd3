//! Tasks, and how they are run.

mod context;
mod execute;
mod gather;
mod given;
#[cfg(feature = "http")]
mod http;
mod lease;
mod pace;
mod registry;
mod secrets;
mod serving;
mod task;
mod transactional;

pub use context::TaskContext;
pub(crate) use execute::{LocalWorkers, failed};
pub(crate) use gather::Gatherers;
pub(crate) use given::{Given, Sources};
#[cfg(feature = "http")]
pub use http::HttpSettings;
#[cfg(feature = "http")]
pub(crate) use http::HttpTask;
pub(crate) use lease::LeaseCheck;
#[cfg(feature = "testkit")]
pub(crate) use registry::{Answers, AnyTask, ErasedTask, ErasedTransactionalTask, Handed};
pub(crate) use registry::{BATCH_MAX, Registry};
pub use secrets::{EnvSecrets, SecretValue, SecretsProvider};
pub(crate) use secrets::{ErasedProvider, Provider};
pub use serving::Serving;
pub use task::{Task, TaskError, TaskHost, TransactionalBatchTask, TransactionalTask};
pub(crate) use transactional::Transactions;
