//! Batches that the database did not take, or of which nobody knows whether it did.

use super::Pump;
use super::answer::reply;
use super::handed::{StartReply, task_id};
use super::turn::Work;
use crate::advance::{Happened, OneStep};
use crate::decide::TaskStatus;
use crate::error::{Error, Remedy, remedy};
use crate::store::TokenState;
use crate::telemetry::database_retry;

impl Pump {
    pub(super) async fn not_written(
        &mut self,
        mut work: Work,
        error: Error,
        todo: &mut Vec<Work>,
        slow: &mut Vec<OneStep>,
    ) {
        self.settings.wakes.put_back(work.claims.drain().map(|(queue, _)| queue));
        let what = match &error {
            Error::Database { source, .. } => remedy(source),
            Error::Deadline { .. } | Error::Connection { .. } => Remedy::NewConnection,
            _ => Remedy::GiveUp,
        };
        if what != Remedy::GiveUp {
            database_retry(&error);
        }
        match what {
            Remedy::RepeatTransaction => {
                tracing::debug!(%error, "a batch is repeated");
                todo.push(work);
            }
            Remedy::NewConnection | Remedy::BackOff => {
                tracing::warn!(%error, "the outcome of a batch is unknown; it is read back");
                self.client = None;
                self.carried.append(&mut work.pending);
                self.carried_starts.extend(work.starts.into_iter().map(|(start, _)| {
                    let mut start = start;
                    if start.row.first.state == TokenState::Leased {
                        start.row.first.state = TokenState::Ready;
                    }
                    start
                }));
            }
            Remedy::GiveUp => split(work, error, todo, slow),
        }
    }
}

/// Halves a batch that the database refuses, until the bad item stands alone and fails its task
/// or its start.
fn split(mut work: Work, error: Error, todo: &mut Vec<Work>, slow: &mut Vec<OneStep>) {
    let n = work.pending.len() + work.starts.len();
    if n > 1 {
        let pending = work.pending.split_off(work.pending.len() / 2);
        let starts = work.starts.split_off(work.starts.len().div_ceil(2));
        todo.push(Work { pending, starts, ..Work::default() });
        todo.push(work);
        return;
    }
    if let Some((start, _)) = work.starts.pop() {
        reply(start.reply, StartReply::Failed(error));
        return;
    }
    let Some(mut pending) = work.pending.pop() else { return };
    tracing::error!(%error, task_id = %task_id(&pending.token), "the database refused an outcome");
    if !pending.poisoned {
        pending.end.status = TaskStatus::FailedWithTerminalError;
        pending.end.output = None;
        pending.end.reason = Some(format!("its outcome could not be stored: {error}"));
    }
    slow.push(OneStep {
        token_id: pending.ended.token_id,
        holder: pending.ended.holder,
        worker: pending.ended.worker,
        happened: Happened::Ended(pending.end),
    });
}
