//! What runs here, held against what the database has leased to a pump.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::Pump;

/// How long what runs here and what the database has leased may differ.
const DIFFERS_FOR: Duration = Duration::from_millis(500);

/// Tokens that differed at the last comparison, and since when.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Leased there and unknown here.
    unknown: HashMap<i64, Instant>,
    /// Held here and unknown there.
    gone: HashMap<i64, Instant>,
}

impl Pump {
    /// Holds what runs here against what the database had leased to this pump when it was asked.
    /// What still differs after a while is put right: a transactional task may have committed
    /// just now.
    pub(super) async fn compare(&mut self, leased: &BTreeSet<i64>, asked: Instant) {
        let pending: BTreeSet<i64> = self
            .carried
            .iter()
            .map(|p| p.ended.token_id)
            .chain(self.carried_steps.iter().map(|step| step.token_id))
            .chain(self.reports.iter().map(|report| report.token_id))
            .collect();
        let known = |id: &i64| self.held.contains_key(id) || pending.contains(id);
        let unknown = leased.iter().copied().filter(|id| !known(id));
        let (strays, unknown) = differ(unknown, &self.suspects.unknown, asked);
        // What was leased after the question cannot be in the answer.
        let gone = self.held.iter().filter(|(id, held)| held.since < asked && !leased.contains(id));
        let (lost, gone) = differ(gone.map(|(id, _)| *id), &self.suspects.gone, asked);
        self.suspects = Suspects { unknown, gone };
        for id in lost {
            self.lose(id);
        }
        if !strays.is_empty() {
            self.release(&strays).await;
        }
    }

    /// Gives tokens back to their queues. A failure is left to the next comparison.
    pub(super) async fn release(&mut self, tokens: &[i64]) {
        let Some(client) = &self.client else { return };
        match self.settings.core.store.release_tasks(client, tokens, self.holder).await {
            Ok(queues) => {
                if !queues.is_empty() {
                    tracing::info!(tasks = queues.len(), "leases that nobody runs are given back");
                }
                for queue in queues {
                    self.ready(&queue);
                }
            }
            Err(error) => tracing::warn!(%error, "tasks could not be given back yet"),
        }
    }
}

/// What differs now: what has done so for long enough, and all of it with since when.
fn differ(
    now: impl Iterator<Item = i64>,
    before: &HashMap<i64, Instant>,
    asked: Instant,
) -> (Vec<i64>, HashMap<i64, Instant>) {
    let all: HashMap<i64, Instant> =
        now.map(|id| (id, before.get(&id).copied().unwrap_or(asked))).collect();
    let long = all.iter().filter(|(_, since)| asked >= **since + DIFFERS_FOR);
    (long.map(|(id, _)| *id).collect(), all)
}
