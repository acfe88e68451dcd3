//! Runs that begin: which definition, with what input, and their first task.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Core;
use super::load::Run;
use super::rows::opened_row;
use crate::decide::{Event, Plan, RunState, decide};
use crate::definition::{TASK_PAYLOAD_MAX_BYTES, WORKFLOW_PAYLOAD_MAX_BYTES, check_payload};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{Executor, StartRow};

/// A definition that a start found, and whether it asked for the latest.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) plan: Arc<Plan>,
    pub(crate) latest: bool,
}

/// What a run is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewRun {
    pub(crate) id: Option<WorkflowId>,
    pub(crate) input: Map<String, Value>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) priority: i16,
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
    Ok(Resolved { plan, latest: version.is_none() })
}

impl Resolved {
    /// The rows of a new run, and the run as its first decision left it.
    pub(crate) fn begin(&self, new: NewRun) -> Result<(StartRow, Run, Arc<Value>), Error> {
        let plan = &self.plan;
        let input = Value::Object(plan.def.with_input_template(new.input));
        let what = format!("input of workflow {:?}", plan.name);
        check_payload(&what, &input, WORKFLOW_PAYLOAD_MAX_BYTES).map_err(refused)?;
        let id = new.id.unwrap_or_else(WorkflowId::new);
        let input = Arc::new(input);
        let correlation_id = new.correlation_id.as_deref().map(Arc::from);
        let mut state = RunState::new(id, input.clone(), plan.variables.clone(), correlation_id);
        let decision = decide(plan, &mut state, &Event::Start)
            .map_err(|error| Error::invariant(id, error.to_string()))?;
        let Some(first) = decision.open else {
            return Err(Error::invariant(id, "a definition without a task"));
        };
        let what = format!("input of task {:?}", first.node.reference_name);
        check_payload(&what, &first.input, TASK_PAYLOAD_MAX_BYTES).map_err(refused)?;
        let task_input = first.input.clone();
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
            first: opened_row(first, 0),
        };
        Ok((row, Run { plan: plan.clone(), state }, task_input))
    }
}

fn refused(fault: crate::definition::PayloadFault) -> Error {
    Error::invalid(format!("{} {}", fault.what, fault.path), fault.reason)
}
