//! Tasks that remote workers have: first leased to the pump that gave them out, then to nobody in
//! particular, so that they outlive this process.
//!
//! A task that is reported soon costs no statement more than one that runs here. One that takes
//! longer is lent: its lease goes to a reserved holder, and from then on its worker must be heard of
//! within `responseTimeoutSeconds`. The pump goes on knowing what it needs to decide its end.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Pump;
use super::handed::task_id;
use super::polls::{Known, KnownTask};
use super::pump::Held;
use crate::advance::must_be_heard;
use crate::id_map::IdMap;
use crate::store::{LentRow, Token};

/// A task that its worker has for so long is lent.
const LEND_AFTER: Duration = Duration::from_millis(500);
/// Tasks away that a pump knows; of others it reads again when they are reported.
const AWAY_MAX: usize = 4_096;

/// Tasks that were lent, as they were then.
#[derive(Debug, Default)]
pub(super) struct Away {
    tasks: IdMap<Held>,
}

impl Away {
    fn insert(&mut self, held: Held) {
        if self.tasks.len() >= AWAY_MAX {
            let mut times: Vec<Instant> = self.tasks.values().map(|held| held.since).collect();
            times.sort_unstable();
            if let Some(middle) = times.get(AWAY_MAX / 2).copied() {
                self.tasks.retain(|_, held| held.since > middle);
            }
        }
        self.tasks.insert(held.token.id, held);
    }

    pub(super) fn get(&self, token_id: i64) -> Option<&Held> {
        self.tasks.get(&token_id)
    }

    pub(super) fn remove(&mut self, token_id: i64) -> Option<Held> {
        self.tasks.remove(&token_id)
    }

    pub(super) fn clear(&mut self) {
        self.tasks.clear();
    }
}

impl Pump {
    /// Makes a task known by which its worker reports.
    pub(super) fn know(&mut self, token: &Token) -> Known {
        self.lend_at.get_or_insert_with(|| Instant::now() + LEND_AFTER);
        let task =
            KnownTask { token_id: token.id, pump: self.handle.clone(), queue: token.queue.clone() };
        self.settings.polls.know(task_id(token), task)
    }

    /// When tasks are to be lent.
    pub(super) fn next_lending(&self) -> Option<Instant> {
        self.lend_at
    }

    /// Lends what its worker has had for long; all of it where this engine stops.
    pub(super) async fn lend_due(&mut self) {
        let stops = self.stopping.is_some();
        if stops || self.lend_at.is_some_and(|at| at <= Instant::now()) {
            let age = if stops { Duration::ZERO } else { LEND_AFTER / 2 };
            self.lend_delivered(age).await;
            let left = self.held.values().any(|held| held.known.is_some());
            self.lend_at = left.then(|| Instant::now() + LEND_AFTER / 2);
        }
    }

    /// Lends the tasks that their workers have had for so long at least.
    pub(super) async fn lend_delivered(&mut self, age: Duration) {
        let held = self.held.values().filter(|held| held.since.elapsed() >= age);
        let rows: Vec<LentRow> = held.filter_map(|held| self.lent_row(held)).collect();
        if rows.is_empty() {
            return;
        }
        let Some(client) = &self.client else { return };
        match self.settings.core.store.lend_tasks(client, &rows).await {
            Ok(lent) => {
                for id in lent {
                    if let Some(held) = self.held.remove(&id) {
                        self.away.insert(held);
                    }
                }
                if let Some(ms) = rows.iter().filter_map(|row| row.response_ms).min() {
                    let ms = u64::try_from(ms).unwrap_or(0);
                    self.settings.wakes.due_in(Duration::from_millis(ms));
                }
            }
            // What was lent all the same is not this pump's any more: it is forgotten.
            Err(error) => self.failed(&error),
        }
    }

    fn lent_row(&self, held: &Held) -> Option<LentRow> {
        let worker = held.known.as_ref()?.delivery.get()?.clone();
        let (response_ms, only_alerts) = must_be_heard(&held.run, &held.token);
        let since = i64::try_from(held.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Some(LentRow {
            token_id: held.token.id,
            holder: self.holder,
            worker: Some(worker),
            response_ms: response_ms.map(|ms| ms.saturating_sub(since).max(0)),
            only_alerts,
        })
    }

    /// What was reported of a token is written.
    pub(super) fn tell_written(&mut self, token_id: i64) {
        self.told.extend(self.answers.remove(&token_id));
    }

    /// Answers polls, and then reports: who waits for both has both when he is woken.
    pub(super) fn answer_all(&mut self) {
        self.settings.polls.answer();
        for answer in self.told.drain(..) {
            if answer.send(()).is_err() {
                tracing::trace!("nobody waits for what became of a report");
            }
        }
    }

    /// Whoever waits for what becomes of a report looks himself.
    pub(super) fn let_look(&mut self, token_id: i64) {
        self.answers.remove(&token_id);
    }
}

/// Who is to hear that a report is written; where he does not, he looks himself.
pub(crate) type Answer = oneshot::Sender<()>;
