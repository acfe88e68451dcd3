//! Duties of a running engine: its session, the rescue of others' tasks, timers, wake-ups.

mod duties;
mod rescue;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::advance::Core;
use crate::clock::Clock;
use crate::config::Config;
use crate::queue::{PumpHandle, SessionId, Slots, Wakes};
use crate::store::{Connector, Pool};

pub(crate) use duties::run_duties;
pub(crate) use session::run_session;

/// What the duties share with the rest of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) core: Arc<Core>,
    pub(crate) connector: Connector,
    pub(crate) slots: Arc<Slots>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) pumps: Vec<PumpHandle>,
    pub(crate) session: Arc<watch::Sender<SessionId>>,
    /// Whether another live session held tasks at the last heartbeat.
    pub(crate) others_hold: Arc<AtomicBool>,
    pub(crate) clock: Clock,
    /// One connection for the poll of those who wait.
    pub(crate) wait_pool: Pool,
    pub(crate) stop: CancellationToken,
}
