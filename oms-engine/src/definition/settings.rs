//! The small types that definitions are made of, with Conductor's spellings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::or_zero;

/// How the delay before a retry grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryLogic {
    /// Always `retryDelaySeconds`.
    #[default]
    Fixed,
    /// `retryDelaySeconds * backoffScaleFactor * (n + 1)` after attempt n.
    LinearBackoff,
    /// `retryDelaySeconds * 2^n` after attempt n.
    ExponentialBackoff,
}

/// What a task's `timeoutSeconds`, `pollTimeoutSeconds` and `totalTimeoutSeconds` lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TimeoutPolicy {
    /// The attempt ends `TIMED_OUT` and is retried.
    Retry,
    /// The attempt and the workflow end `TIMED_OUT` at once.
    #[default]
    #[serde(rename = "TIME_OUT_WF")]
    TimeOutWorkflow,
    /// It is logged.
    AlertOnly,
}

/// What a workflow's `timeoutSeconds` leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkflowTimeoutPolicy {
    /// The workflow ends `TIMED_OUT`.
    #[serde(rename = "TIME_OUT_WF")]
    TimeOutWorkflow,
    /// It is logged.
    #[default]
    AlertOnly,
}

/// How a TERMINATE ends its workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Termination {
    /// Well.
    Completed,
    /// As failed.
    Failed,
    /// As terminated.
    Terminated,
}

/// How a JOIN was polled in Conductor; ours counts down and needs no polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JoinMode {
    /// Without a polling back-off.
    Sync,
    /// With one.
    Async,
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaType {
    /// JSON Schema.
    #[default]
    Json,
    /// Avro.
    Avro,
    /// Protocol buffers.
    Protobuf,
}

/// What happens to a start over the limit of a [`RateLimitConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RateLimitPolicy {
    /// It waits.
    #[default]
    Queue,
    /// It is refused.
    Reject,
}

/// What a second start under the same idempotency key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IdempotencyStrategy {
    /// It is refused.
    Fail,
    /// It returns the first run.
    ReturnExisting,
    /// It is refused while the first run is running.
    FailOnRunning,
}

/// A schema of inputs or outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchemaDef {
    /// Its name.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// Its version; 1 when absent.
    #[serde(deserialize_with = "or_zero")]
    pub version: i32,
    /// Its language.
    #[serde(rename = "type", deserialize_with = "or_zero")]
    pub schema_type: SchemaType,
    /// The schema itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
    /// Where the schema is kept, when it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Default for SchemaDef {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: 1,
            schema_type: SchemaType::Json,
            data: None,
            external_ref: None,
            extra: BTreeMap::new(),
        }
    }
}

/// How results would be kept for equal inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheConfig {
    /// What makes two inputs equal.
    #[serde(deserialize_with = "or_zero")]
    pub key: String,
    /// How long a result is kept, in seconds.
    #[serde(deserialize_with = "or_zero")]
    pub ttl_in_second: i32,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// How many runs may be open under one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimitConfig {
    /// The key, which may be an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_key: Option<String>,
    /// How many.
    #[serde(deserialize_with = "or_zero")]
    pub concurrent_exec_limit: i32,
    /// What happens to one more.
    #[serde(deserialize_with = "or_zero")]
    pub policy: RateLimitPolicy,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// An event to publish when a task changes its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateChangeEvent {
    /// The event's type.
    #[serde(rename = "type", deserialize_with = "or_zero")]
    pub event_type: String,
    /// What is published.
    #[serde(deserialize_with = "or_zero")]
    pub payload: Map<String, Value>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}
