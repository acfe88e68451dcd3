//! What an open task waits for: pure, over its row and what stands around it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::said;
use crate::decide::{Kind, Plan, SYSTEM_QUEUE, WorkflowStatus};
use crate::ids::{TaskId, WorkflowId};
use crate::store::{AHEAD_MAX, ExplainedRun, ExplainedTask, HoldingLimit, REMOTE, TokenState};

/// An open task, and what it waits for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct OpenTaskExplained {
    /// Its id; none of what the engine has to do that is no task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The reference name, with its turn; empty of what is no task.
    pub reference_task_name: String,
    /// Its type, as it is shown.
    pub task_type: String,
    /// From 0.
    pub retry_count: i16,
    /// All of it in one sentence.
    pub summary: String,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Since when it is open.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub since: DateTime<Utc>,
    /// When what it waits for comes by itself: a delay or a timer ends.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<DateTime<Utc>>,
    /// When one of its times is up, and it times out.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub times_out: Option<DateTime<Utc>>,
    /// Whether its run is paused: what is open can still be done, and nothing follows.
    pub paused: bool,
    /// Why the attempt before it did not complete, or what the worker said of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an open task waits for. In JSON `kind` tells which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum WaitsFor {
    /// It is ready, and no worker has taken it yet.
    Worker {
        /// The queue it stands in.
        queue: String,
        /// How many stand before it; counted up to 10,000.
        ahead: i64,
        /// When a worker last asked this queue for work, as far as is known to ten seconds; none where
        /// nobody did for a day.
        #[serde(
            with = "chrono::serde::ts_milliseconds_option",
            skip_serializing_if = "Option::is_none"
        )]
        asked: Option<DateTime<Utc>>,
    },
    /// It is ready, and a limit of its task definition is used up.
    Limit {
        /// The queue it stands in.
        queue: String,
        /// How many stand before it; counted up to 10,000.
        ahead: i64,
        /// The task definition.
        task_def_name: String,
        /// `concurrentExecLimit`, where that is used up.
        #[serde(skip_serializing_if = "Option::is_none")]
        concurrent_exec_limit: Option<i32>,
        /// `rateLimitPerFrequency`, where that is used up.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit_per_frequency: Option<i32>,
    },
    /// A worker in an engine's process runs it.
    Running {
        /// The process's session.
        session: i64,
        /// The engine's name.
        engine: String,
        /// When that was last heard of.
        #[serde(with = "chrono::serde::ts_milliseconds")]
        heard: DateTime<Utc>,
    },
    /// A worker that polled for it runs it.
    RemoteWorker {
        /// What it calls itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
    },
    /// Who held it is dead; it goes back to its queue once an engine has seen that.
    Rescue {
        /// The dead engine's name, where it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<String>,
    },
    /// The delay before it is tried again.
    BackOff,
    /// The delay before it is first ready (`startDelay`).
    StartDelay,
    /// The time for which a worker has given it back (`callbackAfterSeconds`).
    CallBack {
        /// What the worker calls itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
    },
    /// A time.
    Timer,
    /// A signal, or a report from outside.
    Signal,
    /// A person (HUMAN).
    Person,
    /// A sub-workflow.
    SubWorkflow {
        /// The run.
        workflow_id: WorkflowId,
        /// Its definition's name.
        workflow_name: String,
        /// Where it stands.
        status: WorkflowStatus,
    },
    /// Other tasks of the run.
    Tasks {
        /// How many; 0 where it looks at each end whether it has what it needs.
        remaining: i32,
        /// The first twenty open ones in it, or what it lists.
        tasks: Vec<String>,
    },
    /// The engine, which does it at once: where this stays, no engine runs.
    Engine,
    /// The run to be resumed.
    Resume,
}

pub(super) fn explained(
    id: WorkflowId,
    task: &ExplainedTask,
    plan: &Plan,
    run: &ExplainedRun,
) -> OpenTaskExplained {
    let waits_for = waits_for(task, plan, run.now);
    let by_itself = matches!(waits_for, WaitsFor::BackOff | WaitsFor::StartDelay | WaitsFor::Timer)
        || matches!(waits_for, WaitsFor::CallBack { .. });
    let task_id = (!task.reference_name.is_empty()).then(|| {
        let reference_name = task.reference_name.clone();
        let of =
            TaskId { workflow_id: id, epoch: task.epoch, attempt: task.attempt, reference_name };
        of.to_string()
    });
    let mut explained = OpenTaskExplained {
        task_id,
        reference_task_name: task.reference_name.clone(),
        task_type: task.task_type.clone().unwrap_or_else(|| task.queue.clone()),
        retry_count: task.attempt,
        summary: String::new(),
        waits_for,
        since: task.scheduled_at,
        until: task.due_at.filter(|_| by_itself),
        times_out: task.due_at.filter(|_| !by_itself),
        paused: task.paused || run.status == WorkflowStatus::Paused,
        reason: task.reason.clone(),
    };
    explained.summary = said::task(&explained, task, run.now);
    explained
}

fn waits_for(task: &ExplainedTask, plan: &Plan, now: DateTime<Utc>) -> WaitsFor {
    match task.state {
        TokenState::Ready => ready(task, now),
        TokenState::Leased => leased(task),
        TokenState::Delayed => delayed(task, plan),
        TokenState::Container => container(task),
    }
}

fn ready(task: &ExplainedTask, now: DateTime<Utc>) -> WaitsFor {
    if task.queue == SYSTEM_QUEUE {
        return WaitsFor::Engine;
    }
    let (queue, ahead) = (task.queue.clone(), task.ahead.unwrap_or(0).min(AHEAD_MAX));
    let used_up = task.limit.as_ref().map(|limit| (limit, used_up(limit, now)));
    match used_up {
        Some((limit, (concurrent, rate))) if concurrent.is_some() || rate.is_some() => {
            WaitsFor::Limit {
                queue,
                ahead,
                task_def_name: limit.name.clone(),
                concurrent_exec_limit: concurrent,
                rate_limit_per_frequency: rate,
            }
        }
        _ => WaitsFor::Worker { queue, ahead, asked: task.asked_at },
    }
}

/// The limits that leave no room.
fn used_up(limit: &HoldingLimit, now: DateTime<Utc>) -> (Option<i32>, Option<i32>) {
    let concurrent = limit.concurrent.filter(|most| limit.leased >= i64::from(*most));
    let closed = limit.opens_at.is_some_and(|opens| opens > now);
    let rate = limit.rate.filter(|most| closed && limit.handed_out >= i64::from(*most));
    (concurrent, rate)
}

fn leased(task: &ExplainedTask) -> WaitsFor {
    if task.holder == Some(REMOTE) {
        return WaitsFor::RemoteWorker { worker: task.worker.clone() };
    }
    match &task.session {
        Some(session) if !session.dead => WaitsFor::Running {
            session: session.id,
            engine: session.name.clone(),
            heard: session.heartbeat_at,
        },
        session => WaitsFor::Rescue { engine: session.as_ref().map(|s| s.name.clone()) },
    }
}

fn delayed(task: &ExplainedTask, plan: &Plan) -> WaitsFor {
    if task.reference_name.is_empty() {
        return WaitsFor::Resume;
    }
    let from_outside = task.task_type.as_deref() == Some(task.queue.as_str());
    let node = plan.node(&task.reference_name);
    if node.is_some_and(|node| node.kind == Kind::Human) {
        return WaitsFor::Person;
    }
    if from_outside || task.due_at.is_none() {
        return WaitsFor::Signal;
    }
    // Its own time goes on as soon as it is scheduled; before that it has not started.
    if task.task_type.as_deref() == Some("WAIT") && task.attempt == 0 {
        return WaitsFor::Timer;
    }
    if task.poll_count > 0 {
        return WaitsFor::CallBack { worker: task.worker.clone() };
    }
    if task.attempt > 0 { WaitsFor::BackOff } else { WaitsFor::StartDelay }
}

fn container(task: &ExplainedTask) -> WaitsFor {
    if let Some((workflow_id, workflow_name, status)) = &task.child {
        return WaitsFor::SubWorkflow {
            workflow_id: *workflow_id,
            workflow_name: workflow_name.clone(),
            status: *status,
        };
    }
    let mut tasks = task.inside.clone();
    if let Some(Value::Array(listed)) = task.join_on.as_ref().filter(|_| tasks.is_empty()) {
        tasks = listed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    WaitsFor::Tasks { remaining: task.remaining.unwrap_or(0), tasks }
}
