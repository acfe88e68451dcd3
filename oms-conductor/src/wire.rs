//! Conductor's JSON of tasks and results, as far as a worker needs it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use oms_engine::{TaskContext, TaskId, TraceContext, WorkflowId, idempotency_key};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// Conductor's `Task`, as a poll gives it. Servers leave out what they do not know, or write null.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PolledTask {
    pub(crate) task_id: String,
    pub(crate) workflow_instance_id: String,
    reference_task_name: Option<String>,
    retry_count: Option<i64>,
    pub(crate) input_data: Option<Map<String, Value>>,
    runtime_metadata: Option<BTreeMap<String, String>>,
    response_timeout_seconds: Option<i64>,
    start_time: Option<i64>,
    external_input_payload_storage_path: Option<String>,
    task_definition: Option<Limits>,
    /// Of `oms server` alone: it knows of restarts.
    idempotency_key: Option<String>,
    /// So are these.
    traceparent: Option<String>,
    tracestate: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Limits {
    timeout_seconds: Option<i64>,
}

impl PolledTask {
    /// How long the server waits until it hears of the task; none: for ever.
    pub(crate) fn response_timeout(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.response_timeout_seconds?).ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// What a task is told of itself.
    ///
    /// # Errors
    /// Why it cannot be run here.
    pub(crate) fn context(&self, cancellation: CancellationToken) -> Result<TaskContext, String> {
        let path = self.external_input_payload_storage_path.as_deref().unwrap_or_default();
        if !path.is_empty() {
            return Err(format!("its input is kept at {path:?}, which this worker cannot read"));
        }
        let workflow_id: WorkflowId =
            self.workflow_instance_id.parse().map_err(|error| format!("{error}"))?;
        let reference_name = self.reference_task_name.clone().unwrap_or_default();
        if reference_name.is_empty() {
            return Err("the server did not say which step it is".to_owned());
        }
        let attempt = i16::try_from(self.retry_count.unwrap_or(0)).unwrap_or(i16::MAX);
        // A loop's turns are in the reference name.
        let key = self.idempotency_key.clone().filter(|key| !key.is_empty());
        let key = key.unwrap_or_else(|| idempotency_key(workflow_id, &reference_name, 0));
        let epoch = self.task_id.parse().map_or(0, |id: TaskId| id.epoch);
        let id = TaskId { workflow_id, epoch, attempt, reference_name };
        let cx = TaskContext::new(id, key, self.times_out_at(), cancellation)
            .with_runtime_metadata(self.runtime_metadata.clone().unwrap_or_default());
        Ok(match self.trace() {
            Some(trace) => cx.with_trace(trace),
            None => cx,
        })
    }

    fn trace(&self) -> Option<TraceContext> {
        let trace: TraceContext = self.traceparent.as_deref()?.parse().ok()?;
        Some(trace.with_tracestate(self.tracestate.as_deref().unwrap_or_default()))
    }

    fn times_out_at(&self) -> Option<DateTime<Utc>> {
        let started = DateTime::from_timestamp_millis(self.start_time.filter(|ms| *ms > 0)?)?;
        let seconds = self.task_definition.as_ref()?.timeout_seconds.filter(|s| *s > 0)?;
        started.checked_add_signed(TimeDelta::try_seconds(seconds)?)
    }
}

/// How an attempt stands, as its server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    Completed,
    Failed,
    FailedWithTerminalError,
    InProgress,
}

/// Conductor's `TaskResult`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskResult {
    pub(crate) workflow_instance_id: String,
    pub(crate) task_id: String,
    pub(crate) worker_id: String,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason_for_incompletion: Option<String>,
    pub(crate) callback_after_seconds: u64,
    pub(crate) output_data: Map<String, Value>,
    pub(crate) logs: Vec<LogLine>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) extend_lease: bool,
}

/// Conductor's `TaskExecLog`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogLine {
    log: String,
    task_id: String,
    created_time: u64,
}

impl TaskResult {
    pub(crate) fn new(task: &PolledTask, worker: &str, status: Status) -> Self {
        Self {
            workflow_instance_id: task.workflow_instance_id.clone(),
            task_id: task.task_id.clone(),
            worker_id: worker.to_owned(),
            status,
            reason_for_incompletion: None,
            callback_after_seconds: 0,
            output_data: Map::new(),
            logs: Vec::new(),
            extend_lease: false,
        }
    }

    pub(crate) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason_for_incompletion: Some(reason.into()), ..self }
    }

    /// What is no object stands under `result`, as in the engine.
    pub(crate) fn with_output(self, output: Value) -> Self {
        let output_data = match output {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => Map::from_iter([("result".to_owned(), other)]),
        };
        Self { output_data, ..self }
    }

    pub(crate) fn with_log(mut self, lines: Vec<String>) -> Self {
        let created_time = now_ms();
        let line = |log| LogLine { log, task_id: self.task_id.clone(), created_time };
        self.logs = lines.into_iter().map(line).collect();
        self
    }
}

#[expect(clippy::disallowed_methods, reason = "a time that is shown and decides nothing")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn polled(more: &Value) -> PolledTask {
        let mut task = json!({
            "taskId": "5f9e8d7c-0000-4000-8000-000000000001",
            "workflowInstanceId": "5f9e8d7c-0000-4000-8000-000000000002",
            "referenceTaskName": "pay__2",
            "retryCount": 3,
            "inputData": null,
        });
        let more = more.as_object().cloned().unwrap_or_default();
        task.as_object_mut().unwrap().extend(more);
        serde_json::from_value(task).unwrap()
    }

    #[test]
    fn the_idempotency_key_is_the_engine_s_and_the_server_s_where_it_gives_one() {
        let token = CancellationToken::new;
        let cx = polled(&json!({})).context(token()).unwrap();
        let expected = idempotency_key(cx.workflow_id(), "pay__2", 0);
        assert_eq!((cx.idempotency_key(), cx.attempt()), (&*expected, 3));
        let cx = polled(&json!({"idempotencyKey": "k:1"})).context(token()).unwrap();
        assert_eq!(cx.idempotency_key(), "k:1");
    }

    #[test]
    fn a_trace_that_the_server_names_is_gone_on_with() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let more = json!({"traceparent": parent, "tracestate": "a=1"});
        let trace = polled(&more).context(CancellationToken::new()).unwrap().trace().unwrap();
        assert_eq!((&*trace.traceparent(), trace.tracestate()), (parent, Some("a=1")));
        assert_eq!(polled(&json!({})).context(CancellationToken::new()).unwrap().trace(), None);
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (more, why) in [
            (json!({"workflowInstanceId": "seven"}), "\"seven\" is not a workflow id"),
            (json!({"referenceTaskName": null}), "which step"),
            (json!({"externalInputPayloadStoragePath": "s3://a"}), "s3://a"),
        ] {
            let refused = polled(&more).context(CancellationToken::new()).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn the_deadline_is_the_server_s() {
        let more = json!({"startTime": 1_000, "taskDefinition": {"timeoutSeconds": 60}});
        let cx = polled(&more).context(CancellationToken::new()).unwrap();
        assert_eq!(cx.deadline().unwrap().timestamp_millis(), 61_000);
        let cx = polled(&json!({"startTime": 1_000})).context(CancellationToken::new()).unwrap();
        assert_eq!(cx.deadline(), None);
    }
}
