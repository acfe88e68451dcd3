//! What a turn does apart from its one statement: tasks that go back, steps on the slow way.

use std::time::Duration;

use super::{Pump, made_room};
use crate::advance::{Action, OneStep};
use crate::store::ReturnedRow;
use crate::telemetry::lease_lost;

/// A task whose end cannot be written is handed out again after this time.
const POISON_DELAY_MS: i64 = 60_000;

impl Pump {
    pub(super) async fn return_tasks(&mut self, returned: &[ReturnedRow]) {
        let Some(client) = &self.client else {
            return returned.iter().for_each(|row| self.let_look(row.token_id));
        };
        match self.settings.core.store.return_tasks(client, returned).await {
            Ok(done) => {
                for (id, queue) in done {
                    self.tell_written(id);
                    if let Some(queue) = queue {
                        self.ready(&queue);
                    }
                }
                if let Some(ms) =
                    returned.iter().filter_map(|r| r.delay_ms).filter(|ms| *ms > 0).min()
                {
                    self.settings
                        .wakes
                        .due_in(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
                }
            }
            // What was not returned is a lease that nobody runs: the new holder gives it back.
            Err(error) => self.failed(&error),
        }
        for row in returned {
            self.let_look(row.token_id);
        }
    }

    pub(super) async fn go_slow(&mut self, step: OneStep) {
        let core = self.settings.core.clone();
        let Some(client) = &mut self.client else {
            self.carried_steps.push(step);
            return;
        };
        match core.act(client, &Action::Step(&step), None).await {
            Ok(acted) => {
                if !acted.lost {
                    self.tell_written(step.token_id);
                } else if self.answers.remove(&step.token_id).is_none() {
                    lease_lost();
                    tracing::warn!(
                        token = step.token_id,
                        "a late report has no effect: its lease is lost"
                    );
                }
                for queue in &acted.ready {
                    self.ready(queue);
                }
                for queue in &acted.freed {
                    made_room(&self.settings.slots, &self.settings.wakes, queue);
                }
                if let Some(id) = acted.ended {
                    self.tell_ended(id, None);
                }
                if acted.timed {
                    self.settings.wakes.due_in(Duration::ZERO);
                }
            }
            Err(error) if error.is_retryable() => {
                self.carried_steps.push(step);
                self.failed(&error);
            }
            Err(error) => {
                tracing::error!(%error, token = step.token_id, "a step could not be written");
                self.let_look(step.token_id);
                self.postpone(&[step.token_id], step.holder).await;
            }
        }
    }

    /// Hands tokens out again later.
    pub(super) async fn postpone(&mut self, tokens: &[i64], holder: i64) {
        let Some(client) = &self.client else { return };
        match self.settings.core.store.postpone_tasks(client, tokens, holder, POISON_DELAY_MS).await
        {
            Ok(()) => {}
            Err(error) => self.failed(&error),
        }
    }
}
