//! Duties of a running engine: its session, the rescue of others' tasks, timers, wake-ups.

mod duties;
mod events;
mod rescue;
mod retention;
#[cfg(feature = "cron")]
mod schedules;
mod session;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::advance::{Acted, Core};
use crate::clock::Clock;
use crate::config::Config;
use crate::queue::{
    Polls, PumpHandle, PumpMessage, SessionId, Slots, Turns, Wakes, made_room, ready,
};
use crate::store::{Connector, Others, Pool};

pub(crate) use duties::run_duties;
pub(crate) use events::run_events;
pub(crate) use retention::run_retention;
pub(crate) use session::run_session;

/// What the duties share with the rest of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) core: Arc<Core>,
    pub(crate) connector: Connector,
    pub(crate) slots: Arc<Slots>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) polls: Arc<Polls>,
    /// Task types and the domains that they are served in here.
    pub(crate) domains: Arc<[(String, String)]>,
    pub(crate) pumps: Vec<PumpHandle>,
    pub(crate) session: Arc<watch::Sender<SessionId>>,
    pub(crate) others: Arc<watch::Sender<Others>>,
    pub(crate) clock: Clock,
    /// One connection for the poll of those who wait.
    pub(crate) wait_pool: Pool,
    /// One connection for events.
    pub(crate) event_pool: Pool,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// A leased task ended here, but not in a pump.
    pub(crate) fn made_room(&self, queue: &str) {
        made_room(&self.slots, &self.wakes, queue);
    }

    /// Tells the pumps, the timer and other processes what was done outside of them.
    pub(crate) async fn tell(&self, acted: Acted) {
        for queue in &acted.ready {
            self.wakes.wake(queue);
            self.wakes.tell_others(queue);
        }
        for queue in &acted.freed {
            self.made_room(queue);
        }
        if acted.timed {
            self.wakes.due_in(std::time::Duration::ZERO);
        }
        if !acted.taken.is_empty() {
            for pump in &self.pumps {
                pump.tell(PumpMessage::Taken(acted.taken.clone())).await;
            }
        }
    }

    /// A queue has a ready task that was written here, but not by a pump.
    fn ready(&self, queue: &str) {
        ready(&self.slots, &self.wakes, queue);
    }
}
