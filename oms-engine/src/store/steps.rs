//! Ordinary steps, of which most batches are made, have a statement of their own.

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Json;

use super::advance::{AdvanceBatch, Advanced, EndedRow, Opened, OpenedRow, RunEnd, column};
use super::rows::{TokenState, get};
use super::start::{StartBatch, StartRow};
use super::{Executor, Store};
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::error::Error;
use crate::id_map::IdMap;

/// So many ordinary steps pay for a statement of their own beside that for the others of a batch.
const STEPS_MIN: usize = 32;

impl EndedRow {
    fn is_ordinary(&self) -> bool {
        self.status == TaskStatus::Completed
            && self.reason.is_none()
            && self.run_end.as_ref().is_none_or(|end| end.is_ordinary() && !self.has_parent)
            && !self.arrives
            && self.note.is_none()
            && self.variables.is_none()
    }
}

impl RunEnd {
    fn is_ordinary(&self) -> bool {
        self.status == WorkflowStatus::Completed
            && self.reason.is_none()
            && self.failed_task.is_none()
    }
}

impl OpenedRow {
    fn is_ordinary(&self) -> bool {
        matches!(self.state, TokenState::Ready | TokenState::Leased)
            && self.attempt == 0
            && self.set_aside == 0
            && self.status.is_none()
            && self.task_type.is_none()
            && self.delay_ms.is_none()
            && self.due.is_none()
            && self.reason.is_none()
            && self.input.is_none()
            && self.output.is_none()
            && self.detail.is_none()
            && self.remaining.is_none()
            && self.container.is_none()
    }
}

/// An end, and what follows it with its place among all that is opened.
pub(super) type Step<'a> = (&'a EndedRow, Option<(usize, &'a OpenedRow)>);

/// A batch by kinds of steps.
pub(super) struct Split<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) rest: AdvanceBatch<'a>,
    /// Where each of what the rest opens stands among all that is opened.
    places: Vec<usize>,
}

impl<'a> AdvanceBatch<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.claims.is_empty()
    }

    /// The ordinary steps, and the rest with what is claimed.
    pub(super) fn split(&self) -> Split<'a> {
        let rest = AdvanceBatch { claims: self.claims.clone(), ..AdvanceBatch::default() };
        let mut split = Split { steps: Vec::new(), rest, places: Vec::new() };
        let mut opened = self.opened.iter().copied().enumerate().peekable();
        for ended in self.ended.iter().copied() {
            let mut own = || opened.next_if(|(_, row)| row.source == ended.token_id);
            let first = own();
            let second = own();
            let ordinary = ended.is_ordinary() && first.is_none_or(|(_, row)| row.is_ordinary());
            if ordinary && second.is_none() {
                split.steps.push((ended, first));
                continue;
            }
            split.rest.ended.push(ended);
            let others = std::iter::from_fn(own);
            for (place, row) in first.into_iter().chain(second).chain(others) {
                split.rest.opened.push(row);
                split.places.push(place);
            }
        }
        if opened.peek().is_some() {
            // In another order than the ends: the statement for all kinds takes any.
            let places = (0..self.opened.len()).collect();
            return Split { steps: Vec::new(), rest: self.clone(), places };
        }
        split
    }
}

impl Store {
    /// Starts runs, advances others and claims, all or nothing, in one round trip.
    pub(crate) async fn write(
        &self,
        client: &ClientWrapper,
        runs: &[&StartRow],
        batch: &AdvanceBatch<'_>,
        holder: i64,
    ) -> Result<(StartBatch, Advanced), Error> {
        let Split { mut steps, rest, places } = batch.split();
        let apart = rest.is_empty() || steps.len() >= STEPS_MIN;
        if !apart {
            steps.clear();
        }
        let rest = if apart { &rest } else { batch };
        let used = [
            (!runs.is_empty(), &self.sql.start_workflows),
            (!steps.is_empty(), &self.sql.advance_steps),
            (!rest.is_empty(), &self.sql.advance),
        ];
        let many = used.iter().filter(|(used, _)| *used).count() > 1;
        // What has to be prepared first would be sent behind the commit.
        for (_, sql) in used.iter().filter(|(used, _)| *used && many) {
            self.within("preparing a statement", client.prepare_cached(sql)).await?;
        }
        let of_transaction = async |doing, sql| match many {
            true => self.within(doing, client.batch_execute(sql)).await,
            false => Ok(()),
        };
        // After a failed statement the server does nothing more until COMMIT, which rolls back then.
        let (begun, started, stepped, advanced, committed) = tokio::join!(
            biased;
            of_transaction("beginning a transaction", "BEGIN"),
            async {
                match runs {
                    [] => Ok(StartBatch::default()),
                    runs => self.start_workflows(client, runs, Some(holder)).await,
                }
            },
            async {
                match steps.as_slice() {
                    [] => Ok(Advanced::default()),
                    steps => self.advance_steps(client, steps, batch.opened.len(), holder).await,
                }
            },
            async {
                match rest.is_empty() {
                    true => Ok(Advanced::default()),
                    false => self.advance_any(client, rest, holder).await,
                }
            },
            of_transaction("committing", "COMMIT"),
        );
        begun?;
        let done = (started?, stepped?, advanced?);
        committed?;
        let (started, stepped, advanced) = done;
        let advanced =
            if apart { stepped.and(advanced, &places, batch.opened.len()) } else { advanced };
        Ok((started, advanced))
    }

    /// The hot statement for ordinary steps. `opened` is how many tasks the whole batch opens.
    pub(super) async fn advance_steps(
        &self,
        db: &impl Executor,
        steps: &[Step<'_>],
        opened: usize,
        holder: i64,
    ) -> Result<Advanced, Error> {
        fn next<'a>(step: &Step<'a>) -> Option<&'a OpenedRow> {
            step.1.map(|(_, row)| row)
        }
        let row = self
            .one(
                db,
                &self.sql.advance_steps,
                &[
                    &column(steps, |s| s.0.token_id),
                    &column(steps, |s| s.0.rev),
                    &column(steps, |s| s.0.holder),
                    &column(steps, |s| s.0.input.as_ref()),
                    &column(steps, |s| s.0.output.as_ref()),
                    &column(steps, |s| s.0.worker.as_deref()),
                    &column(steps, |s| s.0.run_end.as_ref().map(|end| Json(&*end.output))),
                    &column(steps, |s| next(s).map(|row| &*row.reference_name)),
                    &column(steps, |s| next(s).map(|row| &*row.queue)),
                    &column(steps, |s| next(s).map(|row| row.state.code())),
                    &column(steps, |s| next(s).and_then(|row| row.timeout_ms)),
                    &column(steps, |s| next(s).and_then(|row| row.poll_timeout_ms)),
                    &column(steps, |s| next(s).and_then(|row| row.total_ms)),
                    &holder,
                ],
                "advancing workflows",
            )
            .await?;
        let applied = get::<Option<Vec<i64>>>(&row, 0)?.unwrap_or_default();
        let followed_by = get::<Option<Vec<Option<i64>>>>(&row, 1)?.unwrap_or_default();
        let scopes = get::<Option<Vec<Option<i64>>>>(&row, 2)?.unwrap_or_default();
        let ids = get::<Option<Vec<i64>>>(&row, 3)?.unwrap_or_default();
        let due = get::<Option<Vec<Option<DateTime<Utc>>>>>(&row, 4)?.unwrap_or_default();
        let at = get(&row, 5)?;
        // Few have a time.
        let due = ids.into_iter().zip(due).filter_map(|(id, due)| Some((id, due?)));
        let due: IdMap<DateTime<Utc>> = due.collect();
        let places: IdMap<usize> =
            steps.iter().filter_map(|(ended, next)| Some((ended.token_id, (*next)?.0))).collect();
        let mut opened = vec![None; opened];
        for ((source, id), scope) in applied.iter().zip(followed_by).zip(scopes) {
            if let (Some(id), Some(place)) = (id, places.get(source))
                && let Some(opened) = opened.get_mut(*place)
            {
                let due_at = due.get(&id).copied();
                *opened = Some(Opened { id, scope, at, due_at });
            }
        }
        Ok(Advanced { applied, opened, ..Advanced::default() })
    }
}

impl Advanced {
    /// With what became of the rest of a batch, whose opened tasks stand at these places of all.
    fn and(mut self, rest: Self, places: &[usize], all: usize) -> Self {
        self.opened.resize(all, None);
        for (place, opened) in places.iter().zip(rest.opened) {
            if let Some(own) = self.opened.get_mut(*place) {
                *own = opened;
            }
        }
        self.applied.extend(rest.applied);
        Self { fallen: rest.fallen, claimed: rest.claimed, ..self }
    }
}
