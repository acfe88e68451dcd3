//! [`WorkflowSchedule`]: a workflow that starts by a cron expression.

mod cron;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use cron::next_fires;
pub(crate) use cron::{Crons, Due};
pub use validate::validate_schedule;

use super::faults::{Faults, shown};
use super::json::{self, or_zero};
use super::nesting::SCHEDULE_DEPTH_MAX;
use super::settings::IdempotencyStrategy;

/// When a workflow is started, and with what, as Conductor's JSON has it.
///
/// `overlapPolicy` and `catchupLimit` are this library's own. Times are epoch milliseconds.
///
/// ```
/// use oms_engine::definition::WorkflowSchedule;
///
/// let nightly = WorkflowSchedule::from_json(
///     r#"{
///         "name": "nightly",
///         "cronExpression": "0 30 2 * * *",
///         "zoneId": "Europe/Berlin",
///         "startWorkflowRequest": {"name": "report", "input": {"kind": "daily"}}
///     }"#,
/// )?;
/// assert_eq!(nightly.start_workflow_request.name, "report");
/// # Ok::<(), oms_engine::definition::Faults>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowSchedule {
    /// The key.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// Six fields, seconds first, or a nickname such as `@daily`. Weekdays are 0 to 7, and both
    /// 0 and 7 are Sunday; where both days are given, both must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_expression: Option<String>,
    /// Several expressions; goes before `cronExpression` and `zoneId`.
    #[serde(deserialize_with = "or_zero")]
    pub cron_schedules: Vec<CronSchedule>,
    /// A place such as `Europe/Berlin`, an offset such as `+02:00`, or `UTC`, the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// What each fire starts.
    #[serde(deserialize_with = "or_zero")]
    pub start_workflow_request: StartWorkflowRequest,
    /// Whether it rests.
    #[serde(deserialize_with = "or_zero")]
    pub paused: bool,
    /// Why it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// Whether every fire that was missed is started, oldest first. Without it one late fire
    /// stands for all that were missed.
    #[serde(deserialize_with = "or_zero")]
    pub run_catchup_schedule_instances: bool,
    /// How many missed fires are started at most; older ones are skipped. 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catchup_limit: Option<i32>,
    /// What happens to a fire while the run of the last one goes on.
    #[serde(deserialize_with = "or_zero")]
    pub overlap_policy: OverlapPolicy,
    /// The first time at which it may fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_start_time: Option<i64>,
    /// The last time at which it may fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_end_time: Option<i64>,
    /// For readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it fires next; given out, never taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_time: Option<i64>,
    /// When it was made; given out, never taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<i64>,
    /// When it was last changed; given out, never taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_time: Option<i64>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Default for WorkflowSchedule {
    fn default() -> Self {
        Self {
            name: String::new(),
            cron_expression: None,
            cron_schedules: Vec::new(),
            zone_id: Some(UTC.to_owned()),
            start_workflow_request: StartWorkflowRequest::default(),
            paused: false,
            paused_reason: None,
            run_catchup_schedule_instances: false,
            catchup_limit: None,
            overlap_policy: OverlapPolicy::default(),
            schedule_start_time: None,
            schedule_end_time: None,
            description: None,
            next_run_time: None,
            create_time: None,
            updated_time: None,
            created_by: None,
            updated_by: None,
            extra: BTreeMap::new(),
        }
    }
}

/// One of several expressions of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronSchedule {
    /// As a schedule's.
    #[serde(deserialize_with = "or_zero")]
    pub cron_expression: String,
    /// As a schedule's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What happens to a fire of a schedule while the run of its last one goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OverlapPolicy {
    /// It starts a run beside the other.
    #[default]
    Allow,
    /// It is passed over.
    Skip,
}

/// What is started, as Conductor's JSON has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartWorkflowRequest {
    /// The workflow definition's name.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// Its version; the latest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// The caller's name for what the run belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The workflow's input.
    #[serde(deserialize_with = "or_zero")]
    pub input: Map<String, Value>,
    /// Domains of workers by task.
    #[serde(deserialize_with = "or_zero")]
    pub task_to_domain: BTreeMap<String, String>,
    /// A definition of its own, instead of a registered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_def: Option<Value>,
    /// Where the input is kept, when it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_input_payload_storage_path: Option<String>,
    /// 0 to 99; more urgent first.
    #[serde(deserialize_with = "or_zero")]
    pub priority: i32,
    /// Who starts it; stored only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The run is started once under this key: refused, since each fire is a start of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What a second start under the key does. Clients send it without a key, where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_strategy: Option<IdempotencyStrategy>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

const UTC: &str = "UTC";

/// Missed fires that are started where nothing is said.
const CATCHUP_LIMIT: usize = 100;

impl WorkflowSchedule {
    /// A schedule with one expression in UTC.
    ///
    /// ```
    /// use oms_engine::definition::WorkflowSchedule;
    ///
    /// let hourly = WorkflowSchedule::new("hourly", "0 0 * * * *", "sweep").zone("Europe/Berlin");
    /// assert_eq!(hourly.zone_id.as_deref(), Some("Europe/Berlin"));
    /// ```
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        cron_expression: impl Into<String>,
        workflow: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            cron_expression: Some(cron_expression.into()),
            start_workflow_request: StartWorkflowRequest {
                name: workflow.into(),
                ..StartWorkflowRequest::default()
            },
            ..Self::default()
        }
    }

    /// Sets the zone of its expression.
    #[must_use]
    pub fn zone(mut self, zone_id: impl Into<String>) -> Self {
        self.zone_id = Some(zone_id.into());
        self
    }

    /// Sets one key of the input of each run.
    #[must_use]
    pub fn input(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.start_workflow_request.input.insert(key.into(), value.into());
        self
    }

    /// Starts every fire that was missed, oldest first, at most so many.
    #[must_use]
    pub fn catch_up(mut self, limit: i32) -> Self {
        self.run_catchup_schedule_instances = true;
        self.catchup_limit = Some(limit);
        self
    }

    /// Sets what happens to a fire while the run of the last one goes on.
    #[must_use]
    pub fn overlap(mut self, policy: OverlapPolicy) -> Self {
        self.overlap_policy = policy;
        self
    }

    /// Reads a schedule from JSON. What it says is checked when it is put.
    ///
    /// # Errors
    /// The text is no JSON, nested deeper than a definition in it may be, or a value has another
    /// type than its field.
    pub fn from_json(text: &str) -> Result<Self, Faults> {
        json::read(text, "schedule", SCHEDULE_DEPTH_MAX)
    }

    /// What to call it in messages.
    pub(crate) fn subject(&self) -> String {
        format!("schedule {:?}", shown(&self.name))
    }

    /// Its expressions with their zones, each with its JSON path.
    fn expressions(&self) -> Vec<(String, &str, &str)> {
        fn zone(zone: Option<&String>) -> &str {
            zone.map_or(UTC, String::as_str)
        }
        if self.cron_schedules.is_empty() {
            let expression = self.cron_expression.as_deref().unwrap_or_default();
            return vec![("$".to_owned(), expression, zone(self.zone_id.as_ref()))];
        }
        let each = self.cron_schedules.iter().enumerate();
        each.map(|(index, one)| {
            let path = format!("$.cronSchedules[{index}]");
            (path, one.cron_expression.as_str(), zone(one.zone_id.as_ref()))
        })
        .collect()
    }

    /// How many missed fires are started.
    pub(crate) fn catch_up_limit(&self) -> usize {
        let limit = self.catchup_limit.and_then(|limit| usize::try_from(limit).ok());
        limit.unwrap_or(CATCHUP_LIMIT)
    }

    /// Whether it fires when the other one does.
    pub(crate) fn fires_as(&self, other: &Self) -> bool {
        let times = |one: &Self| (one.schedule_start_time, one.schedule_end_time);
        self.expressions() == other.expressions() && times(self) == times(other)
    }
}
