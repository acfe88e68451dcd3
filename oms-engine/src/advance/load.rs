//! Plans and states, from memory or from the tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::family::current_task_of;
use super::plans::Plans;
use super::route::Domains;
use crate::decide::{
    Branch, Fact, HistoryFields, Node, OpenLoop, Plan, RunState, TaskStatus, WorkflowStatus,
    node_of,
};
use crate::definition::{Payload, TaskDef};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{Executor, HistoryRow, LoopRow, RunRow, Store, Wanted};
use crate::telemetry::{Ended, Lineage, TraceContext};

/// A run with its plan.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) plan: Arc<Plan>,
    /// Boxed, since a run passes through many hands.
    pub(crate) state: Box<RunState>,
    /// Of a run that was started with domains for its tasks.
    pub(crate) domains: Option<Domains>,
    pub(crate) lineage: Lineage,
}

impl Run {
    /// What belongs to the run is told of its trace.
    pub(crate) fn trace(&self) -> TraceContext {
        self.lineage.context_of(self.state.id)
    }

    /// That it has ended, to be told once that is written.
    pub(crate) fn ended(&self, status: WorkflowStatus, reason: Option<&str>) -> Ended {
        let bad = status != WorkflowStatus::Completed;
        Ended {
            id: self.state.id,
            workflow: self.plan.name.clone(),
            status: status.as_str(),
            reason: bad.then(|| reason.unwrap_or_default().to_owned()),
            lineage: self.lineage.clone(),
        }
    }

    /// The step of a task, with or without turns.
    pub(crate) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        node_of(&self.plan, &self.state, name)
    }
}

/// A run loaded whole.
#[derive(Debug)]
pub(crate) struct LoadedRun {
    pub(crate) run: Run,
    pub(crate) row: RunRow,
    pub(crate) history: Vec<HistoryRow>,
}

/// What is decided of a run: by which of its tokens, and what beside the plan's own reads.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: WorkflowId,
    /// The task, with turns; empty where none is known yet.
    pub(crate) reference_name: &'a str,
    /// Whether it has ended, and how is asked.
    pub(crate) ended: bool,
    /// Whether it is the first attempt, in a run that nobody has restarted.
    pub(crate) first: bool,
    pub(crate) scope: Option<i64>,
    pub(crate) detail: Option<&'a Value>,
}

/// Loads runs for decisions: one for each question, in the same order. A run that does not exist
/// is none.
///
/// Of history only the last attempts of what the definition reads are loaded, so that the cost
/// does not grow with the history. The rows are read by separate statements: exact where the
/// caller holds the run's lock or its sole token, else a picture of a moment.
pub(crate) async fn load_runs(
    store: &Store,
    db: &impl Executor,
    plans: &Plans,
    asked: &[Asked<'_>],
) -> Result<Vec<Option<Run>>, Error> {
    let mut ids: Vec<WorkflowId> = asked.iter().map(|asked| asked.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = store.load_runs(db, &ids).await?;
    let by_id = plans.load(store, db, rows.iter().map(|row| row.definition_id)).await?;
    let mut runs = facts_of(store, db, &by_id, rows, asked).await?;
    for run in runs.values_mut() {
        if let Some(domains) = &mut run.domains {
            domains.polls = plans.polls.clone();
        }
    }
    let around = loops_of(store, db, &runs, asked).await?;
    let alone = ids.len() == asked.len();
    asked
        .iter()
        .map(|asked| {
            // Each is asked for once, as a rule.
            let run = if alone { runs.remove(&asked.id) } else { runs.get(&asked.id).cloned() };
            let Some(mut run) = run else { return Ok(None) };
            enter(&mut run, asked, around.get(&asked.id).map_or(&[][..], Vec::as_slice))?;
            Ok(Some(run))
        })
        .collect()
}

async fn facts_of(
    store: &Store,
    db: &impl Executor,
    plans: &HashMap<i64, Arc<Plan>>,
    rows: Vec<RunRow>,
    asked: &[Asked<'_>],
) -> Result<HashMap<WorkflowId, Run>, Error> {
    let (mut wanted, mut whole, mut with_inputs) = (Vec::new(), Vec::new(), false);
    let ended = asked.iter().filter(|asked| asked.ended && !asked.reference_name.is_empty());
    let ended: Vec<_> = ended.collect();
    let first = asked.iter().filter(|asked| asked.first);
    let first: HashMap<_, _> = first.map(|asked| (asked.id, asked.reference_name)).collect();
    for row in &rows {
        let plan = plan_of(plans, row)?;
        // A task that undoes another is tried again with what it got.
        with_inputs |= plan.reads_task_inputs || row.is_undone();
        if row.replays {
            whole.push(row.id);
        }
        // Before the definition's first step nothing has ended.
        let begins = |name: &&str| plan.graph.index_of(name) == Some(0);
        let plain = !row.replays && !row.has_cuts && !row.is_undone();
        if plain && first.get(&row.id).is_some_and(begins) {
            continue;
        }
        for asked in ended.iter().filter(|asked| asked.id == row.id) {
            wanted.push(Wanted {
                workflow_id: row.id,
                reference_name: asked.reference_name.to_owned(),
                in_loop: false,
            });
        }
        wanted.extend(plan.needed.iter().map(|name| Wanted {
            workflow_id: row.id,
            reference_name: name.to_string(),
            in_loop: plan.node(name).is_some_and(|node| node.loops > 0),
        }));
    }
    let mut facts: HashMap<WorkflowId, Vec<HistoryRow>> = HashMap::new();
    if !wanted.is_empty() {
        for row in store.load_facts(db, &wanted, with_inputs).await? {
            facts.entry(row.workflow_id).or_default().push(row);
        }
    }
    let mut done: HashMap<WorkflowId, Vec<HistoryRow>> = HashMap::new();
    if !whole.is_empty() {
        for row in store.load_history(db, &whole, true).await? {
            done.entry(row.workflow_id).or_default().push(row);
        }
    }
    let detached = detached_of(store, db, &rows).await?;
    let mut set_aside = set_aside_of(store, db, &rows).await?;
    let mut runs = HashMap::new();
    for row in rows {
        let plan = plan_of(plans, &row)?.clone();
        let facts = facts.remove(&row.id).unwrap_or_default();
        let mut state =
            state_of(&plan, &row, &facts, set_aside.remove(&row.id).unwrap_or_default());
        if row.replays {
            let done = done.remove(&row.id).unwrap_or_default();
            let detached = detached.get(&row.id).map_or(&[][..], Vec::as_slice);
            state.done = Some(Arc::new(done_of(&plan, &done, detached)));
        }
        let domains = row.task_to_domain.clone().map(Domains::of);
        runs.insert(row.id, Run { plan, state: Box::new(state), domains, lineage: row.lineage });
    }
    Ok(runs)
}

async fn loops_of(
    store: &Store,
    db: &impl Executor,
    runs: &HashMap<WorkflowId, Run>,
    asked: &[Asked<'_>],
) -> Result<HashMap<WorkflowId, Vec<LoopRow>>, Error> {
    let in_loops = |asked: &&Asked<'_>| {
        // A dynamic branch may have loops that the definition has not.
        asked.detail.is_some() || runs.get(&asked.id).is_some_and(|run| run.plan.has_loops)
    };
    let mut scopes: Vec<i64> = asked.iter().filter(in_loops).filter_map(|a| a.scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let mut around: HashMap<WorkflowId, Vec<LoopRow>> = HashMap::new();
    if !scopes.is_empty() {
        for row in store.load_loops(db, &scopes).await? {
            around.entry(row.workflow_id).or_default().push(row);
        }
    }
    Ok(around)
}

/// The run as the holder of this token sees it.
pub(super) fn enter(run: &mut Run, asked: &Asked<'_>, around: &[LoopRow]) -> Result<(), Error> {
    let unreadable = |what: String| Error::invariant(asked.id, what);
    if let Some(text) = asked.detail.and_then(|detail| detail.get("branch")) {
        let branch = Branch::read(text)
            .map_err(|error| unreadable(format!("a branch of it cannot be read: {error}")))?;
        run.state.branch = Some(Arc::new(branch));
    }
    let own = run.state.branch.as_ref().and_then(|branch| branch.graph.find(asked.reference_name));
    let Some((node, turns)) = own.or_else(|| run.plan.graph.find(asked.reference_name)) else {
        return Ok(());
    };
    if let Some(text) = asked.detail.and_then(|detail| detail.get("taskDefinition")) {
        let def: TaskDef = serde_json::from_value(text.clone())
            .map_err(|error| unreadable(format!("a task of it cannot be read: {error}")))?;
        run.state.dynamic = Some(Arc::new(node.as_dynamic(&def.name, &def)));
    }
    for row in around {
        let branch = run.state.branch.clone();
        let own = branch.as_ref().and_then(|branch| branch.graph.find(&row.reference_name));
        let Some((node, outer)) = own.or_else(|| run.plan.graph.find(&row.reference_name)) else {
            continue;
        };
        // Of another lineage, in a batch that asks for several.
        if !turns.starts_with(&outer) {
            continue;
        }
        let open = OpenLoop {
            turn: turns.get(outer.len()).copied().unwrap_or(0),
            turns: outer,
            input: row.input.clone().unwrap_or_default().into(),
            items: row.items.clone().map(Arc::new),
        };
        run.state.loops.insert(node.reference_name.to_string(), open);
    }
    Ok(())
}

fn plan_of<'a>(plans: &'a HashMap<i64, Arc<Plan>>, row: &RunRow) -> Result<&'a Arc<Plan>, Error> {
    plans.get(&row.definition_id).ok_or_else(|| {
        Error::invariant(row.id, format!("its definition {} is missing", row.definition_id))
    })
}

async fn set_aside_of(
    store: &Store,
    db: &impl Executor,
    rows: &[RunRow],
) -> Result<HashMap<WorkflowId, BTreeMap<String, i16>>, Error> {
    let restarted: Vec<WorkflowId> =
        rows.iter().filter(|row| row.has_cuts).map(|row| row.id).collect();
    let mut set_aside: HashMap<WorkflowId, BTreeMap<String, i16>> = HashMap::new();
    if !restarted.is_empty() {
        for (id, reference_name, times) in store.load_set_aside(db, &restarted).await? {
            set_aside.entry(id).or_default().insert(reference_name, times);
        }
    }
    Ok(set_aside)
}

/// A run as its visible history makes it.
#[cfg(test)]
pub(super) fn run_of(
    plan: &Arc<Plan>,
    row: &RunRow,
    history: &[HistoryRow],
    detached: &[WorkflowId],
) -> Run {
    let mut state = state_of(plan, row, history, BTreeMap::new());
    if row.replays {
        state.done = Some(Arc::new(done_of(plan, history, detached)));
    }
    let domains = row.task_to_domain.clone().map(Domains::of);
    Run { plan: plan.clone(), state: Box::new(state), domains, lineage: row.lineage.clone() }
}

/// How each step ended last. One whose sub-workflow was brought back since has not ended well,
/// whatever that had come to.
fn done_of(plan: &Plan, history: &[HistoryRow], detached: &[WorkflowId]) -> BTreeMap<String, Fact> {
    let turns = |name: &str| plan.graph.find(name).map(|(_, turns)| turns).unwrap_or_default();
    let facts =
        history.iter().map(|h| (h.reference_name.clone(), fact_of(h, turns(&h.reference_name))));
    let mut done: BTreeMap<String, Fact> = facts.collect();
    for child in detached {
        let row = current_task_of(plan, history, *child);
        if let Some(fact) = row.and_then(|row| done.get_mut(&row.reference_name)) {
            fact.status = TaskStatus::Canceled;
        }
    }
    done
}

/// Sub-workflows that were brought back by themselves, of runs that go on with such.
async fn detached_of(
    store: &Store,
    db: &impl Executor,
    rows: &[RunRow],
) -> Result<HashMap<WorkflowId, Vec<WorkflowId>>, Error> {
    let resuming: Vec<WorkflowId> =
        rows.iter().filter(|row| row.replays && row.resumes).map(|row| row.id).collect();
    let mut detached: HashMap<WorkflowId, Vec<WorkflowId>> = HashMap::new();
    if !resuming.is_empty() {
        for (parent, child) in store.load_detached(db, &resuming).await? {
            detached.entry(parent).or_default().push(child);
        }
    }
    Ok(detached)
}

/// Loads a run with its whole visible history, and what its tasks got.
pub(crate) async fn load_whole(
    store: &Store,
    db: &impl Executor,
    plans: &Plans,
    row: RunRow,
) -> Result<LoadedRun, Error> {
    let by_id = plans.load(store, db, std::iter::once(row.definition_id)).await?;
    let plan = plan_of(&by_id, &row)?.clone();
    let history = store.load_history(db, &[row.id], true).await?;
    let mut set_aside = set_aside_of(store, db, std::slice::from_ref(&row)).await?;
    let mut state = state_of(&plan, &row, &history, set_aside.remove(&row.id).unwrap_or_default());
    state.done = Some(Arc::new(done_of(&plan, &history, &[])));
    let map = row.task_to_domain.clone();
    let domains = map.map(|map| Domains { map, polls: plans.polls.clone() });
    let lineage = row.lineage.clone();
    Ok(LoadedRun { run: Run { plan, state: Box::new(state), domains, lineage }, row, history })
}

pub(super) fn fact_of(h: &HistoryRow, turns: Vec<u32>) -> Fact {
    Fact {
        turns,
        epoch: h.epoch,
        attempt: h.attempt,
        status: h.status,
        input: h.input.clone().map(Payload::from),
        output: h.output.clone().map(Payload::from),
        reason: h.reason.clone(),
        history: Some(HistoryFields {
            poll_count: h.poll_count,
            worker: h.worker.clone(),
            scheduled_ms: h.scheduled_at.timestamp_millis(),
            started_ms: h.started_at.map_or(0, |at| at.timestamp_millis()),
            ended_ms: h.ended_at.timestamp_millis(),
        }),
    }
}

fn state_of(
    plan: &Plan,
    row: &RunRow,
    history: &[HistoryRow],
    set_aside: BTreeMap<String, i16>,
) -> RunState {
    let mut facts = BTreeMap::new();
    // In order of seq: the last attempt of the highest epoch wins.
    for h in history {
        let (name, turns) = match plan.graph.find(&h.reference_name) {
            Some((node, turns)) => (node.reference_name.clone(), turns),
            None => (Arc::from(h.reference_name.as_str()), Vec::new()),
        };
        facts.insert(name, fact_of(h, turns));
    }
    RunState {
        epoch: row.epoch,
        status: row.status,
        resumes: row.resumes,
        given: row.given.as_ref().map(|(name, input)| (name.clone(), Arc::new(input.clone()))),
        parent_id: row.parent_id,
        task_to_domain: row.task_to_domain.clone(),
        reason: row.reason.clone(),
        undoing: row.is_undone(),
        facts,
        set_aside,
        retried_at: row.last_retried_at,
        ..RunState::new(
            row.id,
            row.input.clone(),
            row.variables.clone(),
            row.correlation_id.as_deref().map(Arc::from),
        )
    }
}
