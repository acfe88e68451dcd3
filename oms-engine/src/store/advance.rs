//! The hot statement: ends attempts, opens what follows, ends runs, claims, in one round trip.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::rows::{Token, TokenState, get};
use super::steps::Split;
use super::{Executor, Store};
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::definition::Payload;
use crate::error::Error;

/// An attempt that ended, fenced by what its token was when it was taken.
#[derive(Clone, Debug)]
pub(crate) struct EndedRow {
    pub(crate) token_id: i64,
    pub(crate) rev: i32,
    /// 0 for a token that nobody holds.
    pub(crate) holder: i64,
    pub(crate) status: TaskStatus,
    /// What the worker got, where the token does not have it.
    pub(crate) input: Option<Payload>,
    pub(crate) output: Option<Payload>,
    pub(crate) worker: Option<Arc<str>>,
    pub(crate) reason: Option<String>,
    /// The end of the run, where this was its last open task.
    pub(crate) run_end: Option<RunEnd>,
    /// Whether a task of another run may wait for the end of this one.
    pub(crate) has_parent: bool,
    /// Whether its container has one less to wait for, and what it tells that.
    pub(crate) arrives: bool,
    pub(crate) note: Option<Value>,
    /// Variables of the run that were set.
    pub(crate) variables: Option<Value>,
}

/// How a run ends.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    pub(crate) status: WorkflowStatus,
    pub(crate) output: Arc<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) failed_task: Option<String>,
}

/// A task that is scheduled after one that ended.
#[derive(Clone, Debug)]
pub(crate) struct OpenedRow {
    /// The token of the attempt that ended.
    pub(crate) source: i64,
    pub(crate) reference_name: Arc<str>,
    pub(crate) attempt: i16,
    pub(crate) queue: Arc<str>,
    /// None where it is the queue's name.
    pub(crate) task_type: Option<Arc<str>>,
    pub(crate) state: TokenState,
    /// It has ended already: nothing is opened.
    pub(crate) status: Option<TaskStatus>,
    pub(crate) delay_ms: Option<i64>,
    pub(crate) due: Option<DateTime<Utc>>,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) poll_timeout_ms: Option<i64>,
    pub(crate) total_ms: Option<i64>,
    pub(crate) set_aside: i16,
    pub(crate) reason: Option<String>,
    /// None where it can be worked out again.
    pub(crate) input: Option<Payload>,
    pub(crate) output: Option<Payload>,
    pub(crate) detail: Option<Value>,
    /// Of a container: how many it waits for.
    pub(crate) remaining: Option<i32>,
    /// The container of the same source that it stands in, numbered from 1; an open one's id,
    /// negative; 0 where it stands in none; none for that of the source.
    pub(crate) container: Option<i64>,
}

impl OpenedRow {
    /// Whether the timer must hear of it. One that is leased tells of its time when it begins.
    pub(crate) const fn is_timed(&self) -> bool {
        self.status.is_none()
            && (self.delay_ms.is_some()
                || self.due.is_some()
                || self.poll_timeout_ms.is_some()
                || self.total_ms.is_some())
    }
}

/// One run of the hot statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdvanceBatch<'a> {
    pub(crate) ended: Vec<&'a EndedRow>,
    /// Those of one source stand together, best in the order of the ends.
    pub(crate) opened: Vec<&'a OpenedRow>,
    pub(crate) claims: Vec<ClaimRow<'a>>,
}

/// Ready tasks to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimRow<'a> {
    pub(crate) queue: &'a str,
    /// How many at most.
    pub(crate) most: i32,
    pub(crate) from: ClaimFrom,
}

/// Where a queue begins: of this priority, what has a lower id is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimFrom {
    pub(crate) priority: i16,
    pub(crate) id: i64,
}

impl ClaimFrom {
    /// All that is ready.
    pub(crate) const START: Self = Self { priority: i16::MIN, id: 0 };
}

impl<'a> AdvanceBatch<'a> {
    /// Of one step.
    pub(crate) fn of(ended: &'a EndedRow, opened: &'a [OpenedRow]) -> Self {
        Self { ended: vec![ended], opened: opened.iter().collect(), claims: Vec::new() }
    }
}

/// What the hot statement did.
#[derive(Debug, Default)]
pub(crate) struct Advanced {
    /// Token ids whose end counts. What is missing was lost, is stale, or its run is paused.
    pub(crate) applied: Vec<i64>,
    /// What became of each task that was to be opened; none where its source's end does not
    /// count, or it has ended already.
    pub(crate) opened: Vec<Option<Opened>>,
    /// Containers that wait for nothing more, and are this holder's now.
    pub(crate) fallen: Vec<Token>,
    pub(crate) claimed: Vec<Token>,
}

/// What the hot statement alone knows of a task that it opened.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(super) id: i64,
    pub(super) scope: Option<i64>,
    pub(super) at: DateTime<Utc>,
    pub(super) due_at: Option<DateTime<Utc>>,
}

impl Opened {
    /// The token of a leased task that was opened after that of `source` had ended.
    pub(crate) fn leased(self, row: OpenedRow, source: &Token) -> Token {
        Token {
            id: self.id,
            workflow_id: source.workflow_id,
            reference_name: row.reference_name,
            epoch: source.epoch,
            attempt: row.attempt,
            queue: row.queue,
            state: TokenState::Leased,
            rev: source.rev,
            priority: source.priority,
            set_aside: row.set_aside,
            poll_count: 1,
            started_at: Some(self.at),
            due_at: self.due_at,
            input: None,
            detail: None,
            scope: self.scope,
        }
    }
}

pub(super) fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

impl Store {
    /// Runs the hot statement. `holder` is who gets what is leased by it.
    pub(crate) async fn advance(
        &self,
        db: &impl Executor,
        batch: &AdvanceBatch<'_>,
        holder: i64,
    ) -> Result<Advanced, Error> {
        let Split { steps, rest, .. } = batch.split();
        if !steps.is_empty() && rest.is_empty() {
            return self.advance_steps(db, &steps, batch.opened.len(), holder).await;
        }
        self.advance_any(db, batch, holder).await
    }

    /// The hot statement for steps of all kinds.
    pub(super) async fn advance_any(
        &self,
        db: &impl Executor,
        batch: &AdvanceBatch<'_>,
        holder: i64,
    ) -> Result<Advanced, Error> {
        let e = &batch.ended;
        let o = &batch.opened;
        let containers = numbered(o);
        let rows = self
            .rows(
                db,
                &self.sql.advance,
                &[
                    &column(e, |r| r.token_id),
                    &column(e, |r| r.rev),
                    &column(e, |r| r.holder),
                    &column(e, |r| r.status.code()),
                    &column(e, |r| r.input.as_ref()),
                    &column(e, |r| r.output.as_ref()),
                    &column(e, |r| r.worker.as_deref()),
                    &column(e, |r| r.reason.as_deref()),
                    &column(e, |r| r.run_end.as_ref().map(|end| end.status.code())),
                    &column(e, |r| r.run_end.as_ref().map(|end| Json(&*end.output))),
                    &column(e, |r| r.run_end.as_ref().and_then(|end| end.reason.as_deref())),
                    &column(e, |r| r.run_end.as_ref().and_then(|end| end.failed_task.as_deref())),
                    &column(e, |r| r.arrives),
                    &column(e, |r| r.note.as_ref().map(Json)),
                    &column(e, |r| r.variables.as_ref().map(Json)),
                    &column(o, |r| r.source),
                    &column(o, |r| &*r.reference_name),
                    &column(o, |r| r.attempt),
                    &column(o, |r| &*r.queue),
                    &column(o, |r| r.task_type.as_deref()),
                    &column(o, |r| r.state.code()),
                    &column(o, |r| r.status.map(TaskStatus::code)),
                    &column(o, |r| r.delay_ms),
                    &column(o, |r| r.due),
                    &column(o, |r| r.timeout_ms),
                    &column(o, |r| r.poll_timeout_ms),
                    &column(o, |r| r.total_ms),
                    &column(o, |r| r.set_aside),
                    &column(o, |r| r.reason.as_deref()),
                    &column(o, |r| r.input.as_ref()),
                    &column(o, |r| r.output.as_ref()),
                    &column(o, |r| r.detail.as_ref().map(Json)),
                    &column(o, |r| r.remaining),
                    &containers,
                    &holder,
                    &column(&batch.claims, |c| c.queue),
                    &column(&batch.claims, |c| c.most),
                    &column(&batch.claims, |c| c.from.priority),
                    &column(&batch.claims, |c| c.from.id),
                ],
                "advancing workflows",
            )
            .await?;
        let mut done = Advanced { opened: vec![None; o.len()], ..Advanced::default() };
        for row in &rows {
            match get::<i8>(row, 0)? {
                b if b == b'w'.cast_signed() => done.read_written(row)?,
                b if b == b'a'.cast_signed() => done.fallen.push(Token::read(row, 1)?),
                _ => done.claimed.push(Token::read_claimed(row, 1)?),
            }
        }
        Ok(done)
    }
}

impl Advanced {
    fn read_written(&mut self, row: &Row) -> Result<(), Error> {
        self.applied = get::<Option<_>>(row, 19)?.unwrap_or_default();
        let at: DateTime<Utc> = get(row, 13)?;
        let Some(numbers) = get::<Option<Vec<i32>>>(row, 20)? else { return Ok(()) };
        let ids: Vec<i64> = get(row, 21)?;
        let scopes: Vec<Option<i64>> = get(row, 22)?;
        let due: Vec<Option<DateTime<Utc>>> = get(row, 23)?;
        for (((number, id), scope), due_at) in numbers.into_iter().zip(ids).zip(scopes).zip(due) {
            let place = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
            if let Some(opened) = place.and_then(|place| self.opened.get_mut(place)) {
                *opened = Some(Opened { id, scope, at, due_at });
            }
        }
        Ok(())
    }
}

/// Where each task stands: in a container of the same source by its number among all.
fn numbered(opened: &[&OpenedRow]) -> Vec<Option<i64>> {
    let (mut source, mut before) = (None, 0);
    (0..)
        .zip(opened)
        .map(|(number, row)| {
            if source != Some(row.source) {
                (source, before) = (Some(row.source), number);
            }
            row.container.map(|own| if own > 0 { before + own } else { own })
        })
        .collect()
}
