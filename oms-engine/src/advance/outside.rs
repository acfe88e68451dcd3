//! What is said of an open task from outside: how it ended, or what it has given so far.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::{Map, Value};

use super::load::Run;
use super::one::{input_now, node_of};
use super::told::ended;
use super::{Acted, Core};
use crate::decide::{Node, TaskEnd, TaskStatus, TimeoutKind, only_alerts};
use crate::error::Error;
use crate::store::{DueToken, LentRow, REMOTE, Token, TokenState};

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

/// Within how many ms the remote worker that has this token's task must be heard of again, none
/// for never; and whether the attempt's own time-out is only to be told of.
pub(crate) fn must_be_heard(run: &Run, token: &Token) -> (Option<i64>, bool) {
    let node = node_of(run, token);
    let alerts = node.is_some_and(|node| only_alerts(node, TimeoutKind::Task));
    (node.and_then(|node| node.response_timeout_ms), alerts)
}

/// Whether the time that was up of a task is the attempt's own, and not that in
/// which it, or its worker, had to be heard of.
pub(super) fn attempt_is_over(node: &Node, token: &Token) -> bool {
    let (Some(started), Some(due), Some(ms)) = (token.started_at, token.due_at, node.timeout_ms)
    else {
        return false;
    };
    // It falls due later only where the attempt's own time was told of and is over.
    (due - started).num_milliseconds() == ms
}

impl Core {
    /// A remote worker is still at its task.
    pub(super) async fn heard_of(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        locked: &DueToken,
    ) -> Result<Acted, Error> {
        let (response_ms, only_alerts) = must_be_heard(run, &locked.token);
        let (token_id, holder, worker) = (locked.token.id, locked.holder, None);
        let row = LentRow { token_id, holder, worker, response_ms, only_alerts };
        self.store.lend_tasks(tx, &[row]).await?;
        Ok(Acted::default())
    }

    /// A time-out was told of, which is all that its policy asks for.
    pub(super) async fn only_told(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        locked: &DueToken,
    ) -> Result<Acted, Error> {
        self.store.disarm(tx, locked.token.id, locked.token.rev).await?;
        if locked.holder == REMOTE {
            return self.heard_of(tx, run, locked).await;
        }
        Ok(Acted::default())
    }

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
