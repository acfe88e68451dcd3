//! Runs that begin: which definition, with what input, and their first task.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Core;
use super::load::Run;
use super::route::{Domains, Polls};
use super::rows::opened_rows;
use crate::decide::{DecideError, Event, Fate, Kind, Plan, RunState, SYSTEM_QUEUE, Wait, decide};
use crate::definition::{
    IdempotencyStrategy, Payload, PayloadFault, TASK_PAYLOAD_MAX_BYTES, TaskToDomain,
    WORKFLOW_PAYLOAD_MAX_BYTES, WorkflowDef, check_payload,
};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{Executor, FoundRow, OpenedRow, Parent, StartRow, TokenState};
use crate::telemetry::{Lineage, TraceContext};

/// A definition that a start found, and whether it asked for the latest.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) plan: Arc<Plan>,
    pub(crate) latest: Option<bool>,
    pub(crate) polls: Arc<Polls>,
}

/// What a run is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewRun {
    pub(crate) id: Option<WorkflowId>,
    pub(crate) input: Map<String, Value>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) idempotency_strategy: Option<IdempotencyStrategy>,
    pub(crate) priority: i16,
    /// The task that it is started for.
    pub(crate) parent: Option<Parent>,
    pub(crate) task_to_domain: Option<Arc<TaskToDomain>>,
    /// None where its trace follows from its ids.
    pub(crate) trace: Option<TraceContext>,
    /// That it brings with it.
    pub(crate) definition: Option<Arc<WorkflowDef>>,
}

/// What a start under an idempotency key comes to that was used before.
#[derive(Debug)]
pub(crate) enum Met {
    /// The run that has the key.
    Existing,
    /// That run has ended, and the key is to be free for another.
    Release,
    Refused(Error),
}

/// What a start comes to whose key another run has. Without a strategy a repeat gives the first run
/// and another input is an error.
pub(crate) fn met(
    strategy: Option<IdempotencyStrategy>,
    (name, key): (&str, Option<&str>),
    found: &FoundRow,
) -> Met {
    let (name, key, first) = (name.to_owned(), key.unwrap_or_default().to_owned(), found.found);
    match strategy {
        _ if found.asked == first => Met::Existing,
        None if !found.same_input => Met::Refused(Error::IdempotencyConflict { name, key, first }),
        None | Some(IdempotencyStrategy::ReturnExisting) => Met::Existing,
        Some(IdempotencyStrategy::FailOnRunning) if !found.running => Met::Release,
        Some(IdempotencyStrategy::Fail | IdempotencyStrategy::FailOnRunning) => {
            Met::Refused(Error::IdempotencyKeyUsed { name, key, first })
        }
    }
}

/// Finds the definition that a start of this name uses now.
pub(crate) async fn resolve(
    core: &Core,
    db: &impl Executor,
    name: &str,
    version: Option<i32>,
) -> Result<Resolved, Error> {
    let Some(row) = core.store.find_definition(db, name, version).await? else {
        return Err(Error::DefinitionNotFound { name: name.to_owned(), version });
    };
    let plan = match core.plans.get(row.id) {
        Some(plan) => plan,
        None => core.plans.compile(row)?,
    };
    Ok(Resolved { plan, latest: Some(version.is_none()), polls: core.plans.polls.clone() })
}

impl Resolved {
    /// The rows of a new run, and the run as its first decision left it.
    pub(crate) fn begin(&self, new: NewRun) -> Result<Begun, Error> {
        let plan = &self.plan;
        let input = Value::Object(plan.def.with_input_template(new.input));
        let what = format!("input of workflow {:?}", plan.name);
        check_payload(&what, &input, WORKFLOW_PAYLOAD_MAX_BYTES).map_err(refused)?;
        hold_to_schema(plan, &input)?;
        let id = new.id.unwrap_or_else(WorkflowId::new);
        let input = Arc::new(input);
        let correlation_id = new.correlation_id.as_deref().map(Arc::from);
        let mut state = RunState::new(id, input.clone(), plan.variables.clone(), correlation_id);
        state.parent_id = new.parent.map(|parent| parent.id);
        let domains = new.task_to_domain.clone();
        let domains = domains.map(|map| Domains { map, polls: self.polls.clone() });
        let above = new.parent.map(|parent| (parent.id, parent.root));
        let lineage = Lineage::new(new.trace.clone(), above, None);
        let mut run = Run { plan: plan.clone(), state: Box::new(state), domains, lineage };
        let first = first_task(&mut run)?;
        let (first, next) = match first {
            Some((row, Some(task_input))) => (row, Some((run, task_input))),
            Some((row, None)) => (row, None),
            None => (decide_row(), None),
        };
        let row = StartRow {
            id,
            name: plan.name.clone(),
            definition_id: plan.definition_id,
            latest: self.latest,
            priority: new.priority,
            input,
            variables: plan.variables.clone(),
            correlation_id: new.correlation_id,
            idempotency_key: new.idempotency_key,
            timeout_ms: plan.timeout_ms,
            parent: new.parent,
            task_to_domain: new.task_to_domain,
            trace: new.trace,
            first,
        };
        Ok(Begun { row, next })
    }
}

/// A run that is to be written.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) row: StartRow,
    /// The run as its first decision left it and the input of its first task, where a worker gets
    /// that.
    pub(crate) next: Option<(Run, Payload)>,
}

/// A first task and, where a worker gets it, its input.
type First = (OpenedRow, Option<Payload>);

/// None where the start leads to something else than one task that a worker or somebody outside
/// ends.
fn first_task(run: &mut Run) -> Result<Option<First>, Error> {
    let id = run.state.id;
    let decision = match decide(&run.plan, &mut run.state, &Event::Start) {
        Ok(decision) => decision,
        Err(DecideError::NeedsFresh | DecideError::NeedsTaskDefs(_)) => return Ok(None),
        Err(error) => return Err(Error::invariant(id, error.to_string())),
    };
    let [first] = decision.scheduled.as_slice() else { return Ok(None) };
    let is_worker = first.node.kind.is_worker();
    let what = format!("input of task {:?}", first.node.reference_name);
    if let (Some(fault), true) = (&first.over, is_worker) {
        return Err(refused(PayloadFault::clone(fault)));
    }
    let simple = match &first.fate {
        Fate::Open(Wait::Now | Wait::For(_)) if is_worker => first.task_def.is_none(),
        Fate::Open(Wait::For(_) | Wait::Signal) => {
            matches!(first.node.kind, Kind::Wait | Kind::Human) && first.over.is_none()
        }
        _ => false,
    };
    if !simple || decision.end.is_some() || !decision.variables.is_empty() {
        return Ok(None);
    }
    first.input.check(&what, TASK_PAYLOAD_MAX_BYTES).map_err(refused)?;
    let input = is_worker.then(|| first.input.clone());
    let mut rows = opened_rows(&decision.scheduled, 0, None, run.domains.as_ref());
    Ok(rows.pop().map(|row| (row, input)))
}

/// The token of a run whose beginning is left to a step.
fn decide_row() -> OpenedRow {
    OpenedRow {
        source: 0,
        reference_name: Arc::default(),
        attempt: 0,
        queue: Arc::from(SYSTEM_QUEUE),
        task_type: None,
        state: TokenState::Ready,
        status: None,
        delay_ms: None,
        due: None,
        timeout_ms: None,
        poll_timeout_ms: None,
        total_ms: None,
        set_aside: 0,
        reason: None,
        input: Some(json!({ "start": true }).into()),
        output: None,
        detail: None,
        remaining: None,
        container: None,
    }
}

/// Refuses an input that does not fit the definition's schema.
pub(super) fn hold_to_schema(plan: &Plan, input: &Value) -> Result<(), Error> {
    let Some(Err(why)) = plan.input_schema.as_ref().map(|schema| schema.check(input)) else {
        return Ok(());
    };
    let what = format!("input of workflow {:?}", plan.name);
    Err(Error::invalid(what, format!("it does not fit the schema: {why}")))
}

fn refused(fault: PayloadFault) -> Error {
    Error::invalid(format!("{} {}", fault.what, fault.path), fault.reason)
}
