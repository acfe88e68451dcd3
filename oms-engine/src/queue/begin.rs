//! How a task that is leased to a pump gets under way.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::Pump;
use super::handed::{HandedOut, Leased, Next, Outcome, Report};
use super::pump::Held;
use crate::definition::TASK_PAYLOAD_MAX_BYTES;

impl Pump {
    /// Lets the tasks begin that were handed out.
    pub(super) fn begin_tasks(&mut self) {
        if !self.to_begin.is_empty() {
            self.settings.workers.clone().run(std::mem::take(&mut self.to_begin));
        }
    }

    /// Gets a task under way that is leased to this pump.
    pub(super) fn hand_out(&mut self, next: Next, chain_since: Instant) {
        let Next { token, run, input, slot } = next;
        if let Some(due_at) = token.due_at {
            self.settings.wakes.due_in(self.settings.clock.until(due_at));
        }
        let what = format_args!("input of task {:?}", token.reference_name);
        let refused = input.check(what, TASK_PAYLOAD_MAX_BYTES).err();
        let input = if refused.is_some() { Value::Object(Map::new()).into() } else { input };
        let known = slot.is_remote().then(|| self.know(&token));
        let (token_id, rev) = (token.id, token.rev);
        let cancellation = CancellationToken::new();
        let leased = Arc::new(Leased { token, run, input, slot, cancellation });
        let task = HandedOut {
            leased: leased.clone(),
            pump: self.handle.clone(),
            delivery: known.as_ref().map(|known| known.delivery.clone()),
            span: Span::none(),
        };
        let since = Instant::now();
        let held = Held { leased, rev, known, since, chain_since };
        self.held.insert(token_id, held);
        match refused {
            None if task.delivery.is_some() => self.settings.polls.deliver(task),
            None => self.to_begin.push(task),
            Some(fault) => self.reports.push(Report {
                token_id,
                outcome: Outcome::Failed {
                    reason: fault.to_string(),
                    output: None,
                    retry_after: None,
                    terminal: true,
                },
                log: Vec::new(),
                worker: None,
                answer: None,
            }),
        }
    }
}
