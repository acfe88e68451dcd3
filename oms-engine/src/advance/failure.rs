//! The failure workflow of a run that ended unsuccessfully, started in the transaction of its end.

use deadpool_postgres::Transaction;
use serde_json::{Map, Value, json};

use super::load::{LoadedRun, Run, load_whole};
use super::start::{NewRun, resolve};
use super::{Core, Execution};
use crate::decide::{End, WorkflowStatus};
use crate::error::Error;
use crate::ids::WorkflowId;

/// Under this key the failed run's output names its failure workflow, as in Conductor.
const OUTPUT_KEY: &str = "conductor.failure_workflow";

impl Core {
    /// Starts the failure workflow of a run whose end was just written. Out: the queue of its
    /// first task.
    ///
    /// A failure workflow that cannot be started never holds up the end: why is noted in the
    /// run's output, as Conductor does.
    pub(super) async fn start_failure_workflow(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        end: &End,
    ) -> Result<Option<String>, Error> {
        if end.status == WorkflowStatus::Completed || !run.plan.has_failure_workflow() {
            return Ok(None);
        }
        let id = run.state.id;
        let mut output =
            end.output.as_deref().and_then(Value::as_object).cloned().unwrap_or_default();
        match self.try_start(tx, run, end).await {
            Ok((failure, queue)) => {
                output.insert(OUTPUT_KEY.to_owned(), json!(failure.to_string()));
                self.store.set_failure_workflow(tx, id, failure, &Value::Object(output)).await?;
                Ok(Some(queue))
            }
            Err(error @ (Error::Database { .. } | Error::Deadline { .. })) => Err(error),
            Err(error) => {
                tracing::error!(workflow_id = %id, %error, "the failure workflow was not started");
                output.insert(OUTPUT_KEY.to_owned(), json!(format!("not started: {error}")));
                self.store.set_output(tx, id, &Value::Object(output)).await?;
                Ok(None)
            }
        }
    }

    async fn try_start(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        end: &End,
    ) -> Result<(WorkflowId, String), Error> {
        let def = &run.plan.def;
        let none = Map::new();
        let input = run.state.input.as_object().unwrap_or(&none);
        let name = def
            .failure_workflow_name(input)
            .map_err(|reason| Error::invalid("failureWorkflow", reason))?
            .ok_or_else(|| Error::invalid("failureWorkflow", "names no workflow"))?;
        let resolved = resolve(self, tx, name, def.failure_workflow_version).await?;
        let failed = self.load_execution(tx, run.state.id).await?;
        let new = |input| NewRun {
            input,
            correlation_id: run.state.correlation_id.as_deref().map(str::to_owned),
            task_to_domain: run.domains.as_ref().map(|domains| domains.map.clone()),
            trace: run.lineage.kept_for(run.state.id, false),
            ..NewRun::default()
        };
        let mut input = failure_input(run, end, failed)?;
        let begun = match resolved.begin(new(input.clone())) {
            Err(Error::InvalidInput { .. }) => {
                // Too large or too deep with all that its tasks got and gave: what has to be
                // undone is undone without that.
                leave_payloads_out(&mut input);
                resolved.begin(new(input))?
            }
            begun => begun?,
        };
        let row = begun.row;
        let queue = row.first.queue.to_string();
        let done = self.store.start_workflows(tx, &[&row], None).await?;
        if done.started.is_empty() {
            return Err(Error::invalid("failureWorkflow", "its definition changed meanwhile"));
        }
        crate::telemetry::started(&row.name);
        Ok((row.id, queue))
    }

    /// A run with all its tasks.
    pub(crate) async fn load_execution(
        &self,
        tx: &Transaction<'_>,
        id: WorkflowId,
    ) -> Result<Execution, Error> {
        let rows = self.store.load_runs(tx, &[id]).await?;
        let Some(row) = rows.into_iter().next() else { return Err(Error::WorkflowNotFound(id)) };
        let loaded = load_whole(&self.store, tx, &self.plans, row).await?;
        let LoadedRun { run, row, history } = loaded;
        let open = self.store.load_open_tasks(tx, id).await?;
        Ok(Execution::assemble(row, &run.plan, &run.state, history, open))
    }
}

/// Leaves what the failed run and its tasks got and gave out of `failedWorkflow`.
fn leave_payloads_out(input: &mut Map<String, Value>) {
    let Some(failed) = input.get_mut("failedWorkflow").and_then(Value::as_object_mut) else {
        return;
    };
    for key in ["input", "output", "variables"] {
        failed.remove(key);
    }
    let tasks = failed.get_mut("tasks").and_then(Value::as_array_mut).into_iter().flatten();
    for task in tasks.filter_map(Value::as_object_mut) {
        task.remove("inputData");
        task.remove("outputData");
    }
}

/// Conductor's input of a failure workflow: the failed run's input, and what became of it.
fn failure_input(run: &Run, end: &End, failed: Execution) -> Result<Map<String, Value>, Error> {
    let id = run.state.id;
    let mut input = run.state.input.as_object().cloned().unwrap_or_default();
    let failed = serde_json::to_value(failed)
        .map_err(|error| Error::invariant(id, format!("it cannot be written as JSON: {error}")))?;
    input.insert("workflowId".to_owned(), json!(id.to_string()));
    input.insert("reason".to_owned(), json!(end.reason));
    input.insert("failureStatus".to_owned(), json!(end.status.as_str()));
    if let Some(task) = &end.failed_task {
        input.insert("failureTaskId".to_owned(), json!(task));
    }
    input.insert("failedWorkflow".to_owned(), failed);
    Ok(input)
}
