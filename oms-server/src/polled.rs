//! Which workers asked for work here, and when last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Queues that are kept in mind; beyond that the one that was asked for longest ago is forgotten.
const QUEUES_MAX: usize = 10_000;

/// Conductor's `PollData`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PollData {
    pub(crate) queue_name: String,
    pub(crate) domain: Option<String>,
    pub(crate) worker_id: String,
    /// Epoch milliseconds.
    pub(crate) last_poll_time: u64,
}

/// A task type and a domain.
type Key = (String, Option<String>);

/// The last poll of each task type and domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolledQueues {
    last: Arc<Mutex<HashMap<Key, PollData>>>,
}

impl PolledQueues {
    pub(crate) fn note(&self, task_type: &str, domain: Option<&str>, worker: &str) {
        let key = (task_type.to_owned(), domain.map(str::to_owned));
        let data = PollData {
            queue_name: key.0.clone(),
            domain: key.1.clone(),
            worker_id: worker.to_owned(),
            last_poll_time: now_ms(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= QUEUES_MAX && !last.contains_key(&key) {
            let oldest = last.iter().min_by_key(|(_, data)| data.last_poll_time);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                last.remove(&oldest);
            }
        }
        last.insert(key, data);
    }

    /// Of one task type, or of all, in order.
    pub(crate) fn of(&self, task_type: Option<&str>) -> Vec<PollData> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |data: &&PollData| task_type.is_none_or(|name| data.queue_name == name);
        let mut all: Vec<PollData> = last.values().filter(fits).cloned().collect();
        drop(last);
        all.sort_by(|a, b| (&a.queue_name, &a.domain).cmp(&(&b.queue_name, &b.domain)));
        all
    }
}

#[expect(clippy::disallowed_methods, reason = "a time that is shown and decides nothing")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_poll_of_each_queue_is_kept_and_the_oldest_queue_is_forgotten() {
        let polls = PolledQueues::default();
        polls.note("a", None, "one");
        polls.note("a", None, "two");
        polls.note("a", Some("eu"), "three");
        let workers: Vec<String> = polls.of(Some("a")).into_iter().map(|p| p.worker_id).collect();
        assert_eq!(workers, ["two", "three"]);
        for n in 0..QUEUES_MAX {
            polls.note(&format!("q{n}"), None, "w");
        }
        assert_eq!(polls.of(None).len(), QUEUES_MAX);
    }
}
