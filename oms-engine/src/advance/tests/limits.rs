//! What the workers of a case take: domains that they serve, and limits.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::rows::{Open, Tables};
use crate::decide::SYSTEM_QUEUE;
use crate::store::{PollRow, TokenState};

impl Tables {
    /// Workers of a task take theirs in a domain.
    pub(super) fn serve(&mut self, served: &BTreeMap<String, Vec<String>>) {
        let mut polls = Vec::new();
        for (task, domain) in served.iter().flat_map(|(t, all)| all.iter().map(move |d| (t, d))) {
            self.served.insert(format!("{domain}:{task}"));
            let (task_type, domain) = (task.clone(), domain.clone());
            polls.push(PollRow { task_type, domain, age_ms: 0 });
        }
        self.polls.set(polls);
    }

    /// Whether a worker of the case takes a task of this queue now; then it has.
    pub(super) fn takes(&mut self, queue: &str) -> bool {
        let name = |queue: &str| queue.split_once(':').map_or(queue, |(_, name)| name).to_owned();
        let own = name(queue);
        if queue.contains(':') && !self.served.contains(queue) {
            return false;
        }
        let limits = self.limits.get(&own).copied().unwrap_or_default();
        let leased = |open: &&Open| {
            open.row.token.state == TokenState::Leased && name(&open.row.token.queue) == own
        };
        let at_once = i32::try_from(self.open.values().filter(leased).count()).unwrap();
        let within = self.opens(&own).is_none();
        if limits.concurrent.is_some_and(|most| at_once >= most) || !within {
            return false;
        }
        self.handed_out.push((own, self.now));
        true
    }

    /// As [`takes`](Self::takes); what has a limit waits for its turn.
    pub(super) fn begins_at_once(&mut self, queue: &str) -> bool {
        let name = queue.split_once(':').map_or(queue, |(_, name)| name);
        !self.limits.get(name).is_some_and(|limits| limits.any()) && self.takes(queue)
    }

    /// When the rate of a task allows the next, where it does not now.
    pub(super) fn opens(&self, name: &str) -> Option<DateTime<Utc>> {
        let (most, window) = self.limits.get(name)?.rate?;
        let mut lately: Vec<DateTime<Utc>> = self
            .handed_out
            .iter()
            .filter(|(of, at)| of == name && *at + Duration::milliseconds(window) > self.now)
            .map(|(_, at)| *at)
            .collect();
        lately.sort_unstable();
        let full = lately.len() >= usize::try_from(most).unwrap();
        full.then(|| lately[0] + Duration::milliseconds(window))
    }

    /// Hands out what waits and can begin now.
    pub(super) fn hand_out(&mut self) {
        let mut ready: Vec<(i64, i64, String)> = self
            .open
            .values()
            .map(|open| &open.row)
            .filter(|row| row.token.state == TokenState::Ready && &*row.token.queue != SYSTEM_QUEUE)
            .map(|row| (row.seq, row.token.id, row.token.queue.to_string()))
            .collect();
        ready.sort_unstable();
        for (_, id, queue) in ready {
            if self.takes(&queue) {
                let now = self.now;
                let open = self.open.get_mut(&id).unwrap();
                open.begins(TokenState::Leased, now);
            }
        }
    }
}
