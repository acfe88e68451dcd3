//! [`TaskDef`]: how a task is retried, timed out and limited, in whatever workflow it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::faults::{Faults, shown};
use super::json::{self, or_zero};
use super::payload::DEPTH_MAX;
use super::settings::{RetryLogic, SchemaDef, TimeoutPolicy};
use super::task_type::TaskType;

/// A task definition, as Conductor's JSON has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskDef {
    /// The key.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// For readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Attempts after the first.
    #[serde(deserialize_with = "or_zero")]
    pub retry_count: i32,
    /// How the delay grows.
    #[serde(deserialize_with = "or_zero")]
    pub retry_logic: RetryLogic,
    /// The delay to start from.
    #[serde(deserialize_with = "or_zero")]
    pub retry_delay_seconds: i32,
    /// `LINEAR_BACKOFF` only.
    #[serde(deserialize_with = "or_zero")]
    pub backoff_scale_factor: i32,
    /// The longest delay; 0 for no cap.
    #[serde(deserialize_with = "or_zero")]
    pub max_retry_delay_seconds: i32,
    /// Up to so many milliseconds are added to a delay after the cap.
    #[serde(deserialize_with = "or_zero")]
    pub backoff_jitter_ms: i32,
    /// From the first claim of the attempt; 0 for none.
    #[serde(deserialize_with = "or_zero")]
    pub timeout_seconds: i64,
    /// What `timeoutSeconds`, `pollTimeoutSeconds` and `totalTimeoutSeconds` lead to.
    #[serde(deserialize_with = "or_zero")]
    pub timeout_policy: TimeoutPolicy,
    /// Since the last update of a running attempt; always leads to `TIMED_OUT` and a retry.
    #[serde(deserialize_with = "or_zero")]
    pub response_timeout_seconds: i64,
    /// How long an attempt may wait for a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_timeout_seconds: Option<i32>,
    /// Over all attempts and delays; 0 for none.
    #[serde(deserialize_with = "or_zero")]
    pub total_timeout_seconds: i64,
    /// How many may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_exec_limit: Option<i32>,
    /// How many may be handed out in each window; 0 for no limit.
    #[serde(deserialize_with = "or_zero")]
    pub rate_limit_per_frequency: i32,
    /// The window's length.
    #[serde(deserialize_with = "or_zero")]
    pub rate_limit_frequency_in_seconds: i32,
    /// Added to the input where a key is absent or resolved to null.
    #[serde(deserialize_with = "or_zero")]
    pub input_template: Map<String, Value>,
    /// Documentation only.
    #[serde(deserialize_with = "or_zero")]
    pub input_keys: Vec<String>,
    /// Documentation only.
    #[serde(deserialize_with = "or_zero")]
    pub output_keys: Vec<String>,
    /// Part of the queue's name for system tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation_group_id: Option<String>,
    /// Part of the queue's name for system tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_name_space: Option<String>,
    /// Names of secrets and of values of the engine's environment that a worker is handed with the
    /// task, apart from its input.
    #[serde(deserialize_with = "or_zero")]
    pub runtime_metadata: Vec<String>,
    /// What inputs look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<SchemaDef>,
    /// What outputs look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<SchemaDef>,
    /// Whether the schemas are held to.
    #[serde(deserialize_with = "or_zero")]
    pub enforce_schema: bool,
    /// Stored only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_type: Option<String>,
    /// Whether listeners hear of changes of a task's status.
    #[serde(deserialize_with = "or_zero")]
    pub task_status_listener_enabled: bool,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_email: Option<String>,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_app: Option<String>,
    /// When it was first registered, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<i64>,
    /// When it was last changed, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<i64>,
    /// Who registered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Default for TaskDef {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: None,
            retry_count: 3,
            retry_logic: RetryLogic::default(),
            retry_delay_seconds: 60,
            backoff_scale_factor: 1,
            max_retry_delay_seconds: 0,
            backoff_jitter_ms: 0,
            timeout_seconds: 0,
            timeout_policy: TimeoutPolicy::default(),
            response_timeout_seconds: 3600,
            poll_timeout_seconds: None,
            total_timeout_seconds: 0,
            concurrent_exec_limit: None,
            rate_limit_per_frequency: 0,
            rate_limit_frequency_in_seconds: 1,
            input_template: Map::new(),
            input_keys: Vec::new(),
            output_keys: Vec::new(),
            isolation_group_id: None,
            execution_name_space: None,
            runtime_metadata: Vec::new(),
            input_schema: None,
            output_schema: None,
            enforce_schema: false,
            base_type: None,
            task_status_listener_enabled: true,
            owner_email: None,
            owner_app: None,
            create_time: None,
            update_time: None,
            created_by: None,
            updated_by: None,
            extra: BTreeMap::new(),
        }
    }
}

impl TaskDef {
    /// Reads a definition from JSON. What it says is checked by
    /// [`validate_task_def`](super::validate_task_def), not here.
    ///
    /// # Errors
    /// The text is no JSON, nested deeper than 100, or a value has another type than its field.
    pub fn from_json(text: &str) -> Result<Self, Faults> {
        json::read(text, "task definition", DEPTH_MAX)
    }

    /// The definition that a SIMPLE task without a registered one runs under: 3 retries, 60
    /// seconds apart.
    #[must_use]
    pub fn default_for(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// As [`default_for`](Self::default_for); types other than SIMPLE are not retried and have
    /// no response timeout.
    #[must_use]
    pub fn default_for_type(name: &str, task_type: &TaskType) -> Self {
        let simple = Self::default_for(name);
        if *task_type == TaskType::Simple {
            return simple;
        }
        Self { retry_count: 0, response_timeout_seconds: 0, ..simple }
    }

    /// What to call the definition in messages.
    pub(crate) fn subject(&self) -> String {
        format!("task definition {:?}", shown(&self.name))
    }
}
