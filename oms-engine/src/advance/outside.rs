//! What is said of an open task from outside: how it ended, or what it has given so far.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::{Map, Value};

use super::load::Run;
use super::one::{input_now, node_of};
use super::told::ended;
use super::{Acted, Core};
use crate::decide::{TaskEnd, TaskStatus};
use crate::error::Error;
use crate::store::{DueToken, TokenState};

/// How a task stands, by whoever knows.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// A terminal one, or `IN_PROGRESS`.
    pub(crate) status: TaskStatus,
    /// An object.
    pub(crate) output: Value,
    pub(crate) reason: Option<String>,
    /// Whether what the task had given before stays beside it.
    pub(crate) adds: bool,
}

impl Said {
    /// The task's output with it.
    pub(super) fn output_over(&self, before: Option<&Value>) -> Value {
        match (before, &self.output) {
            (Some(Value::Object(before)), Value::Object(said)) if self.adds => {
                let mut output: Map<String, Value> = before.clone();
                output.extend(said.clone());
                Value::Object(output)
            }
            _ => self.output.clone(),
        }
    }

    /// The end of a token's task.
    pub(super) fn end(&self, run: &Run, locked: &DueToken) -> TaskEnd {
        let token = &locked.token;
        let output = self.output_over(locked.output.as_ref());
        let end = ended(token, self.status, Some(output), self.reason.clone());
        let input = node_of(run, token).map(|node| input_now(run, node, token));
        TaskEnd { input: end.input.clone().or(input), ..end }
    }
}

impl Core {
    /// A task that waits has given something and waits on.
    pub(super) async fn update(
        &self,
        tx: &Transaction<'_>,
        locked: &DueToken,
        said: &Said,
    ) -> Result<Acted, Error> {
        let token = &locked.token;
        if token.state != TokenState::Delayed {
            let reason = format!("task {:?} is a worker's, which reports it", token.reference_name);
            let workflow_id = token.workflow_id;
            return Err(Error::Conflict { workflow_id, action: "update a task of", reason });
        }
        let output = Arc::new(said.output_over(locked.output.as_ref()));
        self.store.update_task(tx, token.id, (&output, said.reason.as_deref())).await?;
        Ok(Acted::default())
    }
}
