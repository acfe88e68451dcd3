//! Rerun from a step, and skip of one that was not reached yet.

use chrono::DateTime;
use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::load::{LoadedRun, load_whole};
use super::{Acted, Core};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::RunRow;

fn refused(workflow_id: WorkflowId, action: &'static str, reason: String) -> Error {
    Error::Conflict { workflow_id, action, reason }
}

impl Core {
    /// Runs an ended run again from a step on: what was scheduled before it stays.
    pub(super) async fn rerun(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        from: Option<&str>,
        input: Option<&Value>,
    ) -> Result<Acted, Error> {
        let (id, priority) = (row.id, row.priority);
        let LoadedRun { run, history, .. } = load_whole(&self.store, tx, &self.plans, row).await?;
        let cut = match from {
            None => (0, DateTime::UNIX_EPOCH),
            Some(name) => {
                let first = history.iter().find(|row| row.reference_name == name);
                let Some(first) = first else {
                    let reason = format!("it has no ended task {name:?}");
                    return Err(refused(id, "rerun", reason));
                };
                (first.seq, first.scheduled_at)
            }
        };
        let epoch = self.store.rerun_workflow(tx, id, cut, (input, run.plan.timeout_ms)).await?;
        self.go_on(tx, (id, epoch, priority), &json!({ "retry": true })).await
    }

    /// Notes that a step is to be passed.
    pub(super) async fn skip(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        reference_name: &str,
        (input, output): (&Value, &Value),
    ) -> Result<Acted, Error> {
        let id = row.id;
        let LoadedRun { run, history, .. } = load_whole(&self.store, tx, &self.plans, row).await?;
        let refuse = |reason: String| Err(refused(id, "skip a task of", reason));
        let Some(node) = run.plan.node(reference_name) else {
            return refuse(format!("its definition has no task {reference_name:?}"));
        };
        let open = self.store.load_open_tasks(tx, id).await?;
        let reached = history.iter().any(|row| row.reference_name == reference_name)
            || open.iter().any(|row| row.token.reference_name == reference_name);
        if reached {
            return refuse(format!("task {reference_name:?} was scheduled already"));
        }
        let place = (reference_name, &*node.task_name);
        self.store.skip_task(tx, id, place, (input, output)).await?;
        Ok(Acted::default())
    }
}
