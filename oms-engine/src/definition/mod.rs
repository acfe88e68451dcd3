//! What to run: workflow and task definitions in Conductor's JSON, `${…}` templates, validation.
//!
//! Pure: no clock, no IO, no async, no randomness. Every error names the JSON path where it is.
//! The rules are those of Conductor's model classes and its expression reader; what is not
//! supported yet is refused by name.

mod builder;
mod domain;
mod event;
mod faults;
mod http;
mod json;
mod limits;
mod nesting;
mod payload;
#[cfg(feature = "cron")]
mod schedule;
mod schema;
mod scope;
mod script;
mod settings;
mod task_def;
mod task_schemas;
mod task_type;
mod template;
#[cfg(test)]
mod tests;
mod validate;
mod wait;
mod workflow_def;
mod workflow_task;

pub use builder::WorkflowDefBuilder;
pub(crate) use domain::{TaskToDomain, wrong_domain};
pub(crate) use event::{Asked, TaskTarget};
pub use event::{
    EventAction, EventActionKind, EventHandler, EventStart, EventTask, EventTermination,
    EventVariables,
};
pub use faults::{Fault, Faults, Notice};
#[cfg(feature = "http")]
pub(crate) use http::{HttpAnswer, HttpEnd, HttpRequest, call_failed, end_of};
pub(crate) use json::read_deep;
pub(crate) use limits::Limits;
pub use nesting::NESTED_MAX;
pub(crate) use nesting::with_room_for;
pub use payload::{
    DEPTH_MAX, KEY_MAX_BYTES, PayloadFault, TASK_PAYLOAD_MAX_BYTES, VARIABLES_MAX_BYTES,
    WORKFLOW_PAYLOAD_MAX_BYTES, check_payload,
};
pub(crate) use payload::{Payload, REASON_MAX_BYTES, as_object, check_gathered, clean_reason};
#[cfg(feature = "cron")]
pub use schedule::{
    CronSchedule, OverlapPolicy, StartWorkflowRequest, WorkflowSchedule, next_fires,
    validate_schedule,
};
#[cfg(feature = "cron")]
pub(crate) use schedule::{Crons, Due};
pub(crate) use schema::{NamesSchemas, Schema, SchemaKey};
pub use scope::{Fields, Reads, Scope, TASK_FIELDS, WORKFLOW_FIELDS};
pub(crate) use script::{body_as_expression, evaluate_jq, evaluate_js};
pub use settings::{
    CacheConfig, IdempotencyStrategy, JoinMode, RateLimitConfig, RateLimitPolicy, RetryLogic,
    SchemaDef, SchemaType, StateChangeEvent, Termination, TimeoutPolicy, WorkflowTimeoutPolicy,
};
pub use task_def::TaskDef;
pub use task_schemas::TaskSchemas;
pub use task_type::TaskType;
pub use template::{TaskInput, Template, TemplateFault, java_text};
pub(crate) use validate::{LEFT_DONE, never_undone};
pub(crate) use validate::{
    check_brought_secrets, misfits, steps_of, validate_branch, validate_limits, validate_schema,
};
pub use validate::{validate, validate_event_handler, validate_task_def};
pub(crate) use wait::{parse_duration, parse_until};
pub use workflow_def::WorkflowDef;
pub use workflow_task::{SubWorkflowParams, WorkflowTask};
