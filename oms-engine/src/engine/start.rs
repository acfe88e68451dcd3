//! Starting workflows: one, many, and inside the caller's transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio_postgres::Transaction;

use super::{Engine, connection};
use crate::advance::{Begun, Core, Met, NewRun, met, resolve};
use crate::definition::{IdempotencyStrategy, KEY_MAX_BYTES, TaskToDomain, WorkflowDef};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::queue::{StartReply, StartRequestItem, TIMER_NOTE};
use crate::store::{Executor, StartRow};
use crate::telemetry::{self, TraceContext};

/// Starts of one statement.
const CHUNK: usize = 1_000;
/// How often a definition is looked up again that changed while a start was under way.
const RESOLVES_MAX: usize = 5;

/// What to start. Names and meanings are those of Conductor's `StartWorkflowRequest`.
///
/// ```
/// use oms_engine::StartRequest;
/// use serde_json::json;
///
/// let request = StartRequest::new("order").input(json!({"sku": "A1"})).idempotency_key("order-17");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct StartRequest {
    name: String,
    version: Option<i32>,
    input: Result<Map<String, Value>, String>,
    correlation_id: Option<String>,
    idempotency_key: Option<String>,
    idempotency_strategy: Option<IdempotencyStrategy>,
    priority: i32,
    task_to_domain: BTreeMap<String, String>,
    definition: Option<Arc<WorkflowDef>>,
    trace: Option<TraceContext>,
}

impl StartRequest {
    /// Starts the latest version of a definition with an empty input.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: None,
            input: Ok(Map::new()),
            correlation_id: None,
            idempotency_key: None,
            idempotency_strategy: None,
            priority: 0,
            task_to_domain: BTreeMap::new(),
            definition: None,
            trace: None,
        }
    }

    /// Starts this definition, which is registered by nobody. [`Engine::start_in`] takes none.
    pub fn definition(mut self, definition: WorkflowDef) -> Self {
        self.definition = Some(Arc::new(definition));
        self
    }

    /// Starts this version.
    pub const fn version(mut self, version: i32) -> Self {
        self.version = Some(version);
        self
    }

    /// The workflow's input: anything that is a JSON object. What is none is refused by `start`.
    pub fn input(mut self, input: impl Serialize) -> Self {
        self.input = match serde_json::to_value(input) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(_) => Err("is no JSON object".to_owned()),
            Err(error) => Err(format!("cannot be written as JSON: {error}")),
        };
        self
    }

    /// The caller's name for what the run belongs to; at most 255 bytes.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The run is started once under this key and the definition's name: a repeat gives the first
    /// one. 1 to 255 bytes.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// What a start under a key does that was used before. Without it a repeat with the same input
    /// gives the first run, and another input is an error.
    pub const fn idempotency_strategy(mut self, strategy: IdempotencyStrategy) -> Self {
        self.idempotency_strategy = Some(strategy);
        self
    }

    /// 0 (the default) to 99; more urgent first.
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Tasks of this type (`*` for all that have no entry of their own) are for the workers of
    /// these domains: a list with commas, of which the first counts whose workers have asked for
    /// work within ten seconds, else the last. `NO_DOMAIN` stands for the workers of none. HTTP tasks,
    /// which the engine does itself, go by an entry of their own alone.
    pub fn task_to_domain(
        mut self,
        task_type: impl Into<String>,
        domains: impl Into<String>,
    ) -> Self {
        self.task_to_domain.insert(task_type.into(), domains.into());
        self
    }

    /// The run, with all that it leads to, belongs to this trace, below the span that is named there.
    /// Without it the run begins a trace of its own, which has the run's id.
    pub fn trace(mut self, context: TraceContext) -> Self {
        self.trace = Some(context);
        self
    }

    fn check(self) -> Result<(String, Option<i32>, NewRun), Error> {
        let input = self.input.map_err(|reason| Error::invalid("input", reason))?;
        check_key("workflow name", Some(&self.name))?;
        check_key("correlation id", self.correlation_id.as_deref())?;
        check_key("idempotency key", self.idempotency_key.as_deref())?;
        let priority = i16::try_from(self.priority).ok().filter(|p| (0..=99).contains(p));
        let Some(priority) = priority else {
            let reason = format!("{} is not within 0 to 99", self.priority);
            return Err(Error::invalid("priority", reason));
        };
        let domains = TaskToDomain::new(self.task_to_domain)
            .map_err(|(key, reason)| Error::invalid(format!("taskToDomain {key:?}"), reason))?;
        let new = NewRun {
            id: None,
            input,
            correlation_id: self.correlation_id,
            idempotency_key: self.idempotency_key,
            idempotency_strategy: self.idempotency_strategy,
            priority,
            parent: None,
            task_to_domain: (!domains.as_map().is_empty()).then(|| Arc::new(domains)),
            definition: self.definition,
            trace: self.trace,
        };
        Ok((self.name, self.version, new))
    }
}

pub(super) fn check_key(what: &str, key: Option<&str>) -> Result<(), Error> {
    match key {
        Some("") => Err(Error::invalid(what, "is empty")),
        Some(key) if key.len() > KEY_MAX_BYTES => {
            Err(Error::invalid(what, format!("has {} bytes, at most {KEY_MAX_BYTES}", key.len())))
        }
        Some(key) if key.contains('\0') => Err(Error::invalid(what, "has a NUL character")),
        _ => Ok(()),
    }
}

/// A run that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// Its id.
    pub id: WorkflowId,
    /// Whether an earlier call with the same idempotency key had started it.
    pub existed: bool,
}

impl Engine {
    /// Starts a workflow. When it returns, the run is durable.
    ///
    /// # Errors
    /// [`Error::DefinitionNotFound`], [`Error::InvalidInput`], [`Error::IdempotencyConflict`].
    /// After [`Error::Deadline`] the run may have been started: repeat with the same idempotency
    /// key to find out.
    ///
    /// # Cancel safety
    /// Dropped, the run may start or not.
    pub async fn start(&self, request: StartRequest) -> Result<Started, Error> {
        let (name, version, new) = request.check()?;
        let engine = self.clone();
        let work = async move { engine.start_now(&name, version, new).await };
        let started = self.in_place("starting a workflow", work).await?;
        self.note_start(started.id).await?;
        Ok(started)
    }

    async fn start_now(
        &self,
        name: &str,
        version: Option<i32>,
        mut new: NewRun,
    ) -> Result<Started, Error> {
        // The same id in every try: a repeat finds what the first one did.
        let id = WorkflowId::new();
        new.id = Some(id);
        for _ in 0..RESOLVES_MAX {
            let resolved = match self.known_for(&new, name, version) {
                Some(known) => known,
                None => self.resolve_elsewhere(&new, name, version).await?,
            };
            let Begun { row, next } = resolved.begin(new.clone())?;
            let (reply, answer) = oneshot::channel();
            let item = StartRequestItem { row, next, reply };
            let pumps = &self.inner.shared.pumps;
            let index = usize::try_from(id.as_uuid().as_u128() % pumps.len().max(1) as u128);
            let Some(pump) = pumps.get(index.unwrap_or(0)) else { return Err(Error::Shutdown) };
            pump.starts.send(item).await.map_err(|_| Error::Shutdown)?;
            match answer.await.map_err(|_| Error::Shutdown)? {
                StartReply::Started => return Ok(Started { id, existed: false }),
                StartReply::Found(found) => {
                    let key = (name, new.idempotency_key.as_deref());
                    match met(new.idempotency_strategy, key, &found) {
                        Met::Existing => return Ok(Started { id: found.found, existed: true }),
                        Met::Refused(error) => return Err(error),
                        Met::Release => {
                            let engine = self.clone();
                            let release = async move { engine.release_key(found.found).await };
                            self.on_own_threads(release).await?;
                        }
                    }
                }
                StartReply::Failed(error) => return Err(error),
                StartReply::Stale => self.forget_resolved(),
            }
        }
        Err(changes(name, version))
    }

    async fn release_key(&self, id: WorkflowId) -> Result<(), Error> {
        let mut client = connection(&self.inner.pool).await?;
        let done = self.inner.shared.core.store.release_key(client.client()?, id).await;
        client.settle(done)
    }

    /// Starts a workflow inside the caller's transaction: the run is there if and when the
    /// transaction commits, and other processes are woken by the same commit.
    ///
    /// # Errors
    /// As [`start`](Self::start). After a database error the transaction is of no more use.
    ///
    /// # Cancel safety
    /// Dropped, roll the transaction back.
    pub async fn start_in(
        &self,
        tx: &Transaction<'_>,
        request: StartRequest,
    ) -> Result<Started, Error> {
        let (name, version, new) = request.check()?;
        let core = &self.inner.shared.core;
        if new.definition.is_some() {
            return Err(Error::invalid("definition", "start_in takes none: register it"));
        }
        let resolved = resolve(core, tx, &name, version).await?;
        let strategy = new.idempotency_strategy;
        let row = resolved.begin(new)?.row;
        let mut started = start_rows(core, tx, &[(&row, strategy)]).await?;
        if started.iter().any(|started| !started.existed) {
            telemetry::started(&row.name);
        }
        let timed = row.first.is_timed() || row.timeout_ms.is_some();
        let notes = [&*row.first.queue, TIMER_NOTE];
        core.store.notify(tx, if timed { &notes } else { &notes[..1] }).await?;
        started.pop().ok_or_else(|| changes(&name, version))
    }

    /// Starts many workflows, all or none, in one transaction. Out: in the order of the requests.
    ///
    /// # Errors
    /// As [`start`](Self::start), of the first request that has one.
    pub async fn start_many(&self, requests: Vec<StartRequest>) -> Result<Vec<Started>, Error> {
        let checked =
            requests.into_iter().map(StartRequest::check).collect::<Result<Vec<_>, _>>()?;
        let engine = self.clone();
        self.on_own_threads(async move { engine.start_all(checked).await }).await
    }

    async fn start_all(
        &self,
        checked: Vec<(String, Option<i32>, NewRun)>,
    ) -> Result<Vec<Started>, Error> {
        let mut rows = Vec::with_capacity(checked.len());
        self.forget_resolved();
        for (name, version, new) in checked {
            let strategy = new.idempotency_strategy;
            let resolved = self.resolve_for(&new, &name, version).await?;
            rows.push((resolved.begin(new)?.row, strategy));
        }
        let core = &self.inner.shared.core;
        let mut client = connection(&self.inner.pool).await?;
        let done = start_chunks(core, client.client()?, &rows).await;
        let started = client.settle(done)?;
        let mut queues: Vec<&str> = rows.iter().map(|(row, _)| &*row.first.queue).collect();
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.inner.shared.wakes.wake(queue);
            self.inner.shared.wakes.tell_others(queue);
        }
        self.inner.shared.wakes.due_in(std::time::Duration::ZERO);
        started.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Error::Invariant {
            workflow_id: None,
            what: "a start without an answer".to_owned(),
        })
    }
}

/// Starts all rows in one transaction. Out: in their order.
async fn start_chunks(
    core: &Core,
    client: &mut ClientWrapper,
    rows: &[(StartRow, Option<IdempotencyStrategy>)],
) -> Result<Vec<Option<Started>>, Error> {
    let tx = core.store.begin(client).await?;
    // Sorted by key over all chunks, so that two such calls wait for each other in one order.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| {
        let key = |i: &usize| rows.get(*i).map(|(r, _)| (&r.name, &r.idempotency_key));
        key(a).cmp(&key(b))
    });
    let mut started = vec![None; rows.len()];
    for chunk in order.chunks(CHUNK) {
        let part: Vec<Keyed<'_>> =
            chunk.iter().filter_map(|i| rows.get(*i)).map(|(row, with)| (row, *with)).collect();
        for (index, done) in chunk.iter().zip(start_rows(core, &tx, &part).await?) {
            if let Some(place) = started.get_mut(*index) {
                *place = Some(done);
            }
        }
    }
    core.store.commit(tx).await?;
    let new = rows.iter().zip(&started);
    let new = new.filter(|(_, done)| done.as_ref().is_some_and(|done| !done.existed));
    telemetry::started_all(new.map(|((row, _), _)| &*row.name));
    Ok(started)
}

/// A row, and what is to be done if another run has its key.
type Keyed<'a> = (&'a StartRow, Option<IdempotencyStrategy>);

/// Starts rows on a connection that is not a pump's: their first tasks are ready, not leased.
async fn start_rows(
    core: &Core,
    db: &impl Executor,
    rows: &[Keyed<'_>],
) -> Result<Vec<Started>, Error> {
    let mut started: Vec<Option<Started>> = vec![None; rows.len()];
    for _ in 0..RESOLVES_MAX {
        let left = rows.iter().zip(&started).filter(|(_, done)| done.is_none());
        let left: Vec<&StartRow> = left.map(|(row, _)| row.0).collect();
        if left.is_empty() {
            break;
        }
        let done = core.store.start_new(db, &left).await?;
        let new: std::collections::BTreeSet<WorkflowId> = done.started.into_iter().collect();
        let unmet: Vec<&StartRow> = left.into_iter().filter(|row| !new.contains(&row.id)).collect();
        let found =
            if unmet.is_empty() { Vec::new() } else { core.store.find_started(db, &unmet).await? };
        for ((row, strategy), place) in rows.iter().zip(&mut started) {
            if place.is_some() {
                continue;
            }
            if new.contains(&row.id) {
                *place = Some(Started { id: row.id, existed: false });
                continue;
            }
            let found = found.iter().find(|found| found.asked == row.id);
            let Some(found) = found else { return Err(changes(&row.name, None)) };
            match met(*strategy, (&row.name, row.idempotency_key.as_deref()), found) {
                Met::Existing => *place = Some(Started { id: found.found, existed: true }),
                Met::Refused(error) => return Err(error),
                Met::Release => core.store.release_key(db, found.found).await?,
            }
        }
    }
    let name = rows.first().map_or("", |row| &row.0.name);
    started.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| changes(name, None))
}

fn changes(name: &str, version: Option<i32>) -> Error {
    Error::DefinitionChanged { name: name.to_owned(), version }
}
