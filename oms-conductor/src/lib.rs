//! Serves the tasks of [`oms_engine`] on a Conductor server, over its REST API: Conductor OSS, a managed
//! one, or `oms server`.
//!
//! The same [`Task`](oms_engine::Task)s, [`TransactionalTask`](oms_engine::TransactionalTask)s and
//! [`TransactionalBatchTask`](oms_engine::TransactionalBatchTask)s; what registers them with a
//! [`TaskHost`](oms_engine::TaskHost) registers them here. `docs/conductor-cluster.md` says what holds
//! there and what does not.
//!
//! ```no_run
//! use oms_conductor::{Conductor, Worker};
//! # use oms_engine::{Task, TaskContext, TaskError};
//! # struct Charge;
//! # impl Task for Charge {
//! #     const NAME: &'static str = "charge";
//! #     type Input = serde_json::Value;
//! #     type Output = ();
//! #     async fn run(&self, _: &TaskContext, _: Self::Input) -> Result<(), TaskError> { Ok(()) }
//! # }
//!
//! # async fn serve() -> Result<(), oms_conductor::Error> {
//! let conductor = Conductor::builder("https://conductor.internal").key("id", "secret").build()?;
//! let worker = Worker::builder(conductor).task(Charge).start()?;
//! // … until the program is told to end:
//! worker.stop(std::time::Duration::from_secs(20)).await;
//! # Ok(())
//! # }
//! ```

mod attempt;
mod backoff;
mod builder;
mod conductor;
mod error;
mod http;
mod inbox;
mod lease;
mod poll;
mod registry;
mod report;
pub mod telemetry;
mod transaction;
mod wire;
mod worker;

pub use builder::WorkerBuilder;
pub use conductor::{Conductor, ConductorBuilder};
pub use error::Error;
pub use inbox::{migrate, migration_sql, prune};
pub use worker::Worker;

// Named in this crate's API.
pub use deadpool_postgres;
pub use oms_engine;
pub use tokio_postgres;

/// What README.md shows is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// So is what the guide shows.
#[cfg(doctest)]
#[doc = include_str!("../../docs/conductor-cluster.md")]
mod guide {}
