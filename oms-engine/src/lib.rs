//! A durable workflow engine embedded in your program, with PostgreSQL as its only service.

mod advance;
mod clock;
mod config;
mod decide;
pub mod definition;
#[cfg(feature = "embedded")]
pub mod embedded;
mod engine;
mod error;
mod id_map;
mod ids;
mod maintain;
mod queue;
mod store;
pub mod telemetry;
#[cfg(feature = "testkit")]
pub mod testkit;
mod worker;

pub use advance::{
    Execution, Explanation, NotCompensated, OpenTaskExplained, PathStep, PolledTask, StepTime,
    TaskExecution, TimeExplained, TimeSpent, WaitsFor,
};
pub use config::{LOG_LINES_MAX, Retention};
pub use decide::{TaskStatus, WorkflowStatus};
pub use definition::{IdempotencyStrategy, TaskDef, TaskSchemas, WorkflowDef, WorkflowTask};
pub use engine::{
    DoctorLimits, Engine, EngineBuilder, EngineState, EventExecution, EventExecutionRequest,
    EventExecutionStatus, EventRequest, Finding, Found, FoundWorkflow, Halt, ListRequest, Operator,
    OperatorAction, Page, PollRequest, Polled, PublishedEvent, Pulse, QueueState, Registered,
    RerunRequest, RestartOptions, RetryOptions, Severity, Signal, SortOrder, StartRequest, Started,
    Tables, TaskLogLine, TaskSearch, TaskSort, TaskUpdate, TextQuery, Throughput, TimeRange,
    Updated, WorkflowSearch, WorkflowSort, WorkflowSummary, connection_pool,
};
#[cfg(feature = "cron")]
pub use engine::{FireState, ScheduleFire};
pub use error::Error;
pub use ids::{InvalidId, TaskId, WorkflowId, idempotency_key};
pub use store::{ApiKey, ApiRole, Migration, migration_sql, roles_sql};
pub use telemetry::{InvalidTraceparent, TraceContext};
#[cfg(feature = "http")]
pub use worker::HttpSettings;
pub use worker::{
    EnvSecrets, SecretValue, SecretsProvider, Serving, Task, TaskContext, TaskError, TaskHost,
    TransactionalBatchTask, TransactionalTask,
};

/// Compiles a definition and decides its first step, for `fuzz/`; no part of the API.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn begin_for_fuzzing(def: WorkflowDef, input: serde_json::Value) {
    let Ok(plan) = decide::Plan::compile(0, def, &Default::default()) else { return };
    let variables = plan.variables.clone();
    let mut state = decide::RunState::new(WorkflowId::new(), input.into(), variables, None);
    state.fresh = true;
    decide::decide(&plan, &mut state, &decide::Event::Start).ok();
}

// Named in this crate's API.
pub use async_trait;
pub use chrono;
pub use deadpool_postgres;
#[cfg(feature = "schema")]
pub use schemars;
pub use tokio_postgres;

/// What README.md shows is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// What docs/tasks.md and docs/definitions.md show is, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tasks.md")]
mod tasks {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/definitions.md")]
mod definitions {}

#[cfg(all(doctest, feature = "otel"))]
#[doc = include_str!("../../docs/traces.md")]
mod traces {}

/// So is docs/testing.md.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../../docs/testing.md")]
mod testing {}
