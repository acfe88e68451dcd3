//! A task as a remote worker gets it: the names are those of Conductor's `Task` JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::load::Run;
use super::one::node_of;
use super::route::domain_in;
use crate::decide::TaskStatus;
use crate::definition::{Payload, WorkflowTask};
use crate::ids::{TaskId, WorkflowId, idempotency_key};
use crate::store::Token;

/// A task that a remote worker is to run, with the values of its secrets; `Debug` does not show
/// its input.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PolledTask {
    /// Its id, by which it is reported; see [`TaskId`].
    pub task_id: String,
    /// The step's reference name.
    pub reference_task_name: String,
    /// The type that it was asked for by, without its domain.
    pub task_type: String,
    /// The task definition's name.
    pub task_def_name: String,
    /// The domain whose workers it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `IN_PROGRESS`.
    pub status: TaskStatus,
    /// What to work on.
    pub input_data: Arc<Value>,
    /// What the task definition's `runtimeMetadata` names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub runtime_metadata: BTreeMap<String, String>,
    /// From 0.
    pub retry_count: i16,
    /// How often it was handed out.
    pub poll_count: i32,
    /// The turn of the loop it stands in, from 1; 0 for none.
    pub iteration: u32,
    /// The run.
    pub workflow_instance_id: WorkflowId,
    /// The workflow definition's name.
    pub workflow_type: String,
    /// The workflow definition's version.
    pub workflow_version: i32,
    /// 0 to 99.
    pub workflow_priority: i16,
    /// The run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Arc<str>>,
    /// When it was first handed out.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub start_time: Option<DateTime<Utc>>,
    /// Within how many seconds its worker must be heard of; 0 for never.
    pub response_timeout_seconds: u64,
    /// The same for all attempts of the step: what it does outside happens once under this key.
    pub idempotency_key: String,
    /// Where what its worker does belongs to, as a W3C `traceparent` has it.
    pub traceparent: String,
    /// The `tracestate` that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The step as the definition has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_task: Option<Arc<WorkflowTask>>,
}

impl PolledTask {
    /// Of a token that is leased; `input` and `metadata` are what it is handed out with.
    pub(crate) fn of(
        run: &Run,
        token: &Token,
        input: &Payload,
        metadata: BTreeMap<String, String>,
    ) -> Self {
        let task_id = TaskId {
            workflow_id: token.workflow_id,
            epoch: token.epoch,
            attempt: token.attempt,
            reference_name: token.reference_name.to_string(),
        };
        let node = node_of(run, token);
        let map = run.domains.as_ref().map(|domains| &*domains.map);
        let (domain, shown) = domain_in(&token.queue, node.map(|node| &**node), map);
        let turns = run.plan.graph.find(&token.reference_name).map(|(_, turns)| turns);
        let iteration = turns.and_then(|turns| turns.last().copied()).unwrap_or(0);
        let step = node.and_then(|node| run.plan.worker_steps.get(&*node.reference_name));
        let response_ms = node.and_then(|node| node.response_timeout_ms).unwrap_or(0);
        let trace = run.trace();
        let response = Duration::from_millis(u64::try_from(response_ms).unwrap_or(0));
        Self {
            task_id: task_id.to_string(),
            task_type: node.map_or(shown, |node| &*node.task_type).to_owned(),
            task_def_name: node.map_or(shown, |node| &*node.task_name).to_owned(),
            domain: domain.map(str::to_owned),
            status: TaskStatus::InProgress,
            input_data: input.shared(),
            runtime_metadata: metadata,
            retry_count: token.attempt,
            poll_count: token.poll_count,
            iteration,
            workflow_instance_id: token.workflow_id,
            workflow_type: run.plan.def.name.clone(),
            workflow_version: run.plan.def.version,
            workflow_priority: token.priority,
            correlation_id: run.state.correlation_id.clone(),
            start_time: token.started_at,
            response_timeout_seconds: response.as_secs(),
            idempotency_key: idempotency_key(
                token.workflow_id,
                &token.reference_name,
                token.set_aside,
            ),
            traceparent: trace.traceparent(),
            tracestate: trace.tracestate().map(str::to_owned),
            workflow_task: step.cloned(),
            reference_task_name: task_id.reference_name,
        }
    }
}

impl fmt::Debug for PolledTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolledTask")
            .field("task_id", &self.task_id)
            .field("task_type", &self.task_type)
            .field("poll_count", &self.poll_count)
            .finish_non_exhaustive()
    }
}
