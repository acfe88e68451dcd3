//! Those who start workflows and those who work on their tasks, all on one thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::super::failure::{Exit, Failure};
use super::wire::{Connection, Target};
use super::{BenchOptions, NAME, name_of};

/// How long the last polls may take that are under way when it is over.
const LAST_POLLS_MAX: Duration = Duration::from_secs(5);
const WORKER: &str = "oms-bench";
/// A run that is not COMPLETED at once is looked at again after this time, so often at most.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 50;

/// What starters and workers share.
pub(super) struct Shared {
    options: BenchOptions,
    target: Arc<Target>,
    state: Mutex<State>,
    /// For those who wait until all have ended.
    changed: Notify,
    /// How many more may be under way.
    room: Semaphore,
    started: AtomicU32,
    is_over: AtomicBool,
    last: String,
    progress: ProgressBar,
}

#[derive(Default)]
struct State {
    /// When a run was started that has not ended; or ended before its starter had its id.
    runs: HashMap<String, Mark>,
    ended: Vec<String>,
    latencies: Vec<Duration>,
    failure: Option<Failure>,
}

enum Mark {
    Started(Instant),
    Ended(Instant),
}

/// What a worker needs of a task.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    task_id: String,
    workflow_instance_id: String,
    reference_task_name: String,
    input_data: Value,
}

/// Out: the latencies of all runs, and how long it all took.
pub(super) async fn drive(
    options: BenchOptions,
    target: Target,
    progress: ProgressBar,
) -> Result<(Vec<Duration>, Duration), Failure> {
    let permits = usize::try_from(options.in_flight).unwrap_or(usize::MAX);
    let shared = Arc::new(Shared {
        target: Arc::new(target),
        state: Mutex::default(),
        changed: Notify::new(),
        room: Semaphore::new(permits),
        started: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
        last: format!("step_{}", options.steps),
        progress,
        options,
    });
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..shared.options.workers {
        let shared = shared.clone();
        all.spawn(async move { shared.note(shared.work().await) });
    }
    for _ in 0..shared.options.starters {
        let shared = shared.clone();
        all.spawn(async move { shared.note(shared.start().await) });
    }
    let took = shared.until_all_ended(begun).await?;
    // Whoever polls still gets his answer: what it brings would be lost for its server.
    if tokio::time::timeout(LAST_POLLS_MAX, async { while all.join_next().await.is_some() {} })
        .await
        .is_err()
    {
        tracing::debug!("polls were under way when the time for them was up");
    }
    shared.see_all_completed().await?;
    let latencies = std::mem::take(&mut shared.state().latencies);
    Ok((latencies, took))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The first failure ends it all.
    fn note(&self, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.state().failure.get_or_insert(failure);
            self.changed.notify_one();
        }
    }

    /// Until all runs have ended, something failed, or the time is up. Out: how long that took.
    async fn until_all_ended(&self, begun: Instant) -> Result<Duration, Failure> {
        let all = usize::try_from(self.options.workflows).unwrap_or(usize::MAX);
        let most = Duration::from_secs(self.options.timeout);
        let changed = async {
            loop {
                {
                    let mut state = self.state();
                    if let Some(failure) = state.failure.take() {
                        return Err(failure);
                    }
                    if state.latencies.len() >= all {
                        return Ok(begun.elapsed());
                    }
                }
                self.changed.notified().await;
            }
        };
        let done = tokio::time::timeout(most, changed).await;
        self.is_over.store(true, Ordering::Relaxed);
        self.room.close();
        done.unwrap_or_else(|_| {
            let done = self.state().latencies.len();
            let why = format!("{done} of {all} workflows had ended after {most:?}");
            Err(Failure::new(Exit::Unreachable, why))
        })
    }

    async fn start(&self) -> Result<(), Failure> {
        let mut connection = Connection::new(self.target.clone());
        loop {
            // It is closed when all is over.
            let Ok(room) = self.room.acquire().await else { return Ok(()) };
            let n = self.started.fetch_add(1, Ordering::Relaxed);
            if n >= self.options.workflows {
                return Ok(());
            }
            room.forget();
            let body = json!({ "name": name_of(&self.options), "version": 1, "input": { "n": n } });
            let body = body.to_string().into_bytes();
            let sent = Instant::now();
            let (_, id) = connection.send(&Method::POST, "/api/workflow", Some(body)).await?;
            let id = String::from_utf8_lossy(&id);
            self.mark(id.trim().trim_matches('"').to_owned(), Mark::Started(sent));
        }
    }

    /// A run is done when both its start and its end are known, in whatever order they come.
    fn mark(&self, id: String, mark: Mark) {
        let mut state = self.state();
        let other = state.runs.remove(&id);
        match (other, mark) {
            (Some(Mark::Started(from)), Mark::Ended(to))
            | (Some(Mark::Ended(to)), Mark::Started(from)) => {
                state.latencies.push(to.saturating_duration_since(from));
                state.ended.push(id);
                let all = state.latencies.len();
                drop(state);
                self.room.add_permits(1);
                self.progress.inc(1);
                if u32::try_from(all).is_ok_and(|all| all >= self.options.workflows) {
                    self.changed.notify_one();
                }
            }
            (_, mark) => {
                state.runs.insert(id, mark);
            }
        }
    }

    /// One worker: it polls for as many tasks as it has places for, and works on all it has at once.
    async fn work(self: &Arc<Self>) -> Result<(), Failure> {
        let batch = self.options.batch;
        let places = Arc::new(Semaphore::new(usize::try_from(batch).unwrap_or(1)));
        let kept: Arc<Mutex<Vec<Connection>>> = Arc::default();
        let mut connection = Connection::new(self.target.clone());
        while !self.is_over() {
            let Ok(first) = places.clone().acquire_owned().await else { break };
            let mut free = vec![first];
            while let Ok(place) = places.clone().try_acquire_owned() {
                free.push(place);
            }
            let path = format!(
                "/api/tasks/poll/batch/{NAME}?workerid={WORKER}&count={}&timeout=1000",
                free.len()
            );
            let (_, answer) = connection.send(&Method::GET, &path, None).await?;
            let mut free = free.into_iter();
            for task in read::<Vec<Task>>(&answer)? {
                // What is more than was asked for is worked on all the same, or it would be lost.
                let place = free.next();
                let (shared, kept) = (self.clone(), kept.clone());
                tokio::spawn(async move {
                    let taken = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let connection =
                        taken.unwrap_or_else(|| Connection::new(shared.target.clone()));
                    let done = shared.follow(task, connection).await;
                    let done = done.map(|connection| {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    });
                    shared.note(done);
                    drop::<Option<OwnedSemaphorePermit>>(place);
                });
            }
        }
        // Its tasks have ended when all places are free.
        drop(places.acquire_many(batch).await);
        Ok(())
    }

    /// Reports a task, and those that the answers bring.
    async fn follow(&self, first: Task, mut connection: Connection) -> Result<Connection, Failure> {
        let mut held = Some(first);
        while let Some(task) = held.take() {
            let result = json!({
                "taskId": task.task_id,
                "workflowInstanceId": task.workflow_instance_id,
                "workerId": WORKER,
                "status": "COMPLETED",
                "outputData": { "n": task.input_data.get("n") },
            });
            // What is under way when it is over is of no run of ours any more.
            let last = self.is_over();
            let path = if last { "/api/tasks" } else { "/api/tasks/update-v2" };
            let body = Some(result.to_string().into_bytes());
            let (status, answer) = connection.send(&Method::POST, path, body).await?;
            if task.reference_task_name == self.last {
                self.mark(task.workflow_instance_id, Mark::Ended(Instant::now()));
            }
            if !last && status != 204 {
                held = read::<Option<Task>>(&answer)?;
            }
        }
        Ok(connection)
    }

    /// Looks, when all is over, whether each run is COMPLETED.
    async fn see_all_completed(self: &Arc<Self>) -> Result<(), Failure> {
        let mut all: JoinSet<Result<(), Failure>> = JoinSet::new();
        for _ in 0..self.options.starters {
            let shared = self.clone();
            all.spawn(async move {
                let mut connection = Connection::new(shared.target.clone());
                loop {
                    let Some(id) = shared.state().ended.pop() else { return Ok(()) };
                    shared.see_completed(&id, &mut connection).await?;
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.map_err(|error| Failure::failed("cannot look at the runs", error))??;
        }
        Ok(())
    }

    async fn see_completed(&self, id: &str, connection: &mut Connection) -> Result<(), Failure> {
        let path = format!("/api/workflow/{id}?includeTasks=false");
        let mut status = Value::Null;
        for _ in 0..LOOKS_MAX {
            let (_, answer) = connection.send(&Method::GET, &path, None).await?;
            status = read::<Value>(&answer)?.get_mut("status").map(Value::take).unwrap_or_default();
            if status == "COMPLETED" {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let text = format!("workflow {id} is {status} when all its tasks are COMPLETED");
        Err(Failure::new(Exit::Failed, text))
    }
}

/// Without a body, null.
fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    let text = if answer.is_empty() { b"null" } else { answer };
    serde_json::from_slice(text)
        .map_err(|error| Failure::failed("the answer is no JSON; is this a Conductor?", error))
}
