//! Who does what to a run, and why.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Engine, connection};
use crate::advance::By;
use crate::definition::REASON_MAX_BYTES;
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::OperationNote;

/// The longest name of an operator, in bytes.
const NAME_MAX_BYTES: usize = 500;
/// So many operations on a run are listed.
const LISTED_MAX: i64 = 1_000;

/// Somebody who does something to runs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    name: String,
    reason: String,
}

impl Operator {
    /// # Errors
    /// [`Error::InvalidInput`] for a name or reason that is empty or too long.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Result<Self, Error> {
        let reason = reason.into();
        if reason.trim().is_empty() {
            return Err(Error::invalid("reason", "is missing"));
        }
        check("reason", &reason, REASON_MAX_BYTES)?;
        Ok(Self { reason, ..Self::without_reason(name)? })
    }

    /// Somebody who is not asked why: what is recorded has an empty reason.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a name that is empty or too long.
    pub fn without_reason(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.trim().is_empty() {
            return Err(Error::invalid("operator", "is missing"));
        }
        check("operator", &name, NAME_MAX_BYTES)?;
        Ok(Self { name, reason: String::new() })
    }
}

fn check(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::invalid(what, "has a NUL character"));
    }
    if text.len() > most {
        return Err(Error::invalid(what, format!("has {} bytes, at most {most}", text.len())));
    }
    Ok(())
}

/// What an operator did to a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct OperatorAction {
    /// What: a verb, such as `retry`.
    pub action: String,
    /// The step that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_name: Option<String>,
    /// Who.
    pub operator: String,
    /// Why; empty where nobody asked.
    pub reason: String,
    /// When.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub time: DateTime<Utc>,
}

impl Engine {
    /// This engine for somebody: what is done through it to a run, by an operation or a signal, is
    /// recorded in the same transaction with who did it and why. The record is kept as long as the
    /// run; [`operator_actions`](Self::operator_actions) lists it.
    #[must_use]
    pub fn on_behalf_of(&self, operator: Operator) -> Self {
        Self { inner: self.inner.clone(), operator: Some(Arc::new(operator)) }
    }

    /// What operators did to a run, the last first: what was done
    /// [on behalf of](Self::on_behalf_of) somebody.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn operator_actions(&self, id: WorkflowId) -> Result<Vec<OperatorAction>, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let rows = self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = core.store.list_operations(client.client()?, id, LISTED_MAX).await;
            client.settle(done)
        });
        let action = |row: crate::store::OperationRow| OperatorAction {
            action: row.action,
            reference_name: row.reference_name,
            operator: row.operator,
            reason: row.reason,
            time: row.at,
        };
        Ok(rows.await?.into_iter().map(action).collect())
    }

    /// Who acts, where that is to be recorded.
    pub(super) fn by<'a>(
        &'a self,
        workflow_id: WorkflowId,
        action: &'a str,
        reference_name: Option<&'a str>,
    ) -> By<'a> {
        self.operator.as_deref().map(|operator| OperationNote {
            workflow_id,
            action,
            reference_name,
            operator: &operator.name,
            reason: &operator.reason,
        })
    }

    /// Records that somebody started a run, in a transaction of its own: the start shares its
    /// with others.
    pub(super) async fn note_start(&self, id: WorkflowId) -> Result<(), Error> {
        if self.operator.is_none() {
            return Ok(());
        }
        let engine = self.clone();
        self.on_own_threads(async move {
            let Some(note) = engine.by(id, "start", None) else { return Ok(()) };
            let mut client = connection(&engine.inner.pool).await?;
            let store = &engine.inner.shared.core.store;
            let done = store.note_operation(client.client()?, &note).await;
            client.settle(done)
        })
        .await
    }
}
