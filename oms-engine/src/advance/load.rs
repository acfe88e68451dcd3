//! Plans and states, from memory or from the tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::decide::{Fact, HistoryFields, Plan, RunState};
use crate::definition::{TaskDef, WorkflowDef};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{DefinitionRow, Executor, HistoryRow, RunRow, Store};

/// Plans that are kept; beyond that the cache begins anew.
const PLANS_MAX: usize = 4_096;

/// A run with its plan.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: RunState,
}

/// A run loaded whole.
#[derive(Debug)]
pub(crate) struct LoadedRun {
    pub(crate) run: Run,
    pub(crate) row: RunRow,
    pub(crate) history: Vec<HistoryRow>,
}

/// Compiled definitions by id. A row is immutable, so a plan never goes stale.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    by_id: Mutex<HashMap<i64, Arc<Plan>>>,
}

impl Plans {
    pub(crate) fn get(&self, id: i64) -> Option<Arc<Plan>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Compiles a row and keeps its plan.
    pub(crate) fn compile(&self, row: DefinitionRow) -> Result<Arc<Plan>, Error> {
        let id = row.id;
        let plan = Arc::new(compile(row)?);
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if by_id.len() >= PLANS_MAX {
            by_id.clear();
        }
        by_id.insert(id, plan.clone());
        Ok(plan)
    }

    /// The plans of these definitions.
    async fn load(
        &self,
        store: &Store,
        db: &impl Executor,
        ids: impl Iterator<Item = i64> + Send,
    ) -> Result<HashMap<i64, Arc<Plan>>, Error> {
        let mut plans = HashMap::new();
        let mut missing = Vec::new();
        for id in ids {
            match self.get(id) {
                Some(plan) => {
                    plans.insert(id, plan);
                }
                None if !missing.contains(&id) => missing.push(id),
                None => {}
            }
        }
        if !missing.is_empty() {
            for row in store.load_definitions(db, &missing).await? {
                let id = row.id;
                plans.insert(id, self.compile(row)?);
            }
        }
        Ok(plans)
    }
}

fn compile(row: DefinitionRow) -> Result<Plan, Error> {
    let unreadable = |error: serde_json::Error| Error::Invariant {
        workflow_id: None,
        what: format!("workflow definition {} in the tables cannot be read: {error}", row.id),
    };
    let def: WorkflowDef = serde_json::from_value(row.definition).map_err(unreadable)?;
    let task_defs: BTreeMap<String, TaskDef> =
        serde_json::from_value(row.task_definitions).map_err(unreadable)?;
    Plan::compile(row.id, def, &task_defs).map_err(|faults| Error::InvalidDefinition { faults })
}

/// Loads runs with their visible history. A run that does not exist is missing in the answer.
///
/// The runs' rows, their history and what was set aside are separate statements: exact where the
/// caller holds the run's lock or its sole token, else a picture of a moment.
pub(crate) async fn load_runs(
    store: &Store,
    db: &impl Executor,
    plans: &Plans,
    ids: &[WorkflowId],
) -> Result<Vec<LoadedRun>, Error> {
    let rows = store.load_runs(db, ids).await?;
    load_rest(store, db, plans, rows, false).await
}

/// As [`load_runs`], for rows that were read already; `with_inputs` also loads what tasks got.
pub(crate) async fn load_rest(
    store: &Store,
    db: &impl Executor,
    plans: &Plans,
    rows: Vec<RunRow>,
    with_inputs: bool,
) -> Result<Vec<LoadedRun>, Error> {
    let by_id = plans.load(store, db, rows.iter().map(|row| row.definition_id)).await?;
    let ids: Vec<WorkflowId> = rows.iter().map(|row| row.id).collect();
    let with_inputs = with_inputs || by_id.values().any(|plan| plan.reads_task_inputs);
    let mut history: HashMap<WorkflowId, Vec<HistoryRow>> = HashMap::new();
    for row in store.load_history(db, &ids, with_inputs).await? {
        history.entry(row.workflow_id).or_default().push(row);
    }
    let restarted: Vec<WorkflowId> =
        rows.iter().filter(|row| row.has_cuts).map(|row| row.id).collect();
    let mut set_aside: HashMap<WorkflowId, BTreeMap<String, i16>> = HashMap::new();
    if !restarted.is_empty() {
        for (id, reference_name, times) in store.load_set_aside(db, &restarted).await? {
            set_aside.entry(id).or_default().insert(reference_name, times);
        }
    }
    rows.into_iter()
        .map(|row| {
            let Some(plan) = by_id.get(&row.definition_id) else {
                let what = format!("its definition {} is missing", row.definition_id);
                return Err(Error::invariant(row.id, what));
            };
            let history = history.remove(&row.id).unwrap_or_default();
            let state = state_of(&row, &history, set_aside.remove(&row.id).unwrap_or_default());
            Ok(LoadedRun { run: Run { plan: plan.clone(), state }, row, history })
        })
        .collect()
}

fn state_of(row: &RunRow, history: &[HistoryRow], set_aside: BTreeMap<String, i16>) -> RunState {
    let mut facts = BTreeMap::new();
    // In order of seq: the last attempt of the highest epoch wins.
    for h in history {
        let fact = Fact {
            epoch: h.epoch,
            attempt: h.attempt,
            status: h.status,
            input: h.input.clone().map(Arc::new),
            output: h.output.clone().map(Arc::new),
            reason: h.reason.clone(),
            history: Some(HistoryFields {
                poll_count: h.poll_count,
                worker: h.worker.clone(),
                scheduled_ms: h.scheduled_at.timestamp_millis(),
                started_ms: h.started_at.map_or(0, |at| at.timestamp_millis()),
                ended_ms: h.ended_at.timestamp_millis(),
            }),
        };
        facts.insert(h.reference_name.clone(), fact);
    }
    RunState {
        id: row.id,
        epoch: row.epoch,
        status: row.status,
        input: Arc::new(row.input.clone()),
        variables: Arc::new(row.variables.clone()),
        correlation_id: row.correlation_id.as_deref().map(Arc::from),
        parent_id: row.parent_id,
        reason: row.reason.clone(),
        facts,
        open: BTreeMap::new(),
        set_aside,
    }
}

/// A JSON object, also of what is none: under the key `result`.
pub(crate) fn as_object(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        Value::Null => Value::Object(serde_json::Map::new()),
        other => {
            let mut map = serde_json::Map::new();
            map.insert("result".to_owned(), other);
            Value::Object(map)
        }
    }
}
