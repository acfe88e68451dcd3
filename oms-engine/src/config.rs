//! Settings of an engine, with their reasons.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// The schema's name unless the user chooses another.
pub(crate) const DEFAULT_SCHEMA: &str = "oms_engine";

/// Lines of log that are kept of one attempt; further ones are dropped.
pub const LOG_LINES_MAX: usize = 1_000;

/// Raised when an older engine must not work beside this one (see `min_engine` in the tables).
pub(crate) const ENGINE_VERSION: i32 = 1;

/// Settings of an engine; see the builder's methods for what each means.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Few connections with large batches beat many.
    pub(crate) pumps: usize,
    pub(crate) concurrency: usize,
    pub(crate) pool_size: usize,
    pub(crate) transactional_pool_size: usize,
    /// For every statement and connection.
    pub(crate) deadline: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_limit: Duration,
    pub(crate) start: StartMode,
    /// None: ended runs are kept.
    pub(crate) retention: Option<Retention>,
}

/// How long ended runs are kept.
///
/// A run goes with all of its family, parents and children, once each of them has ended longer ago than
/// that. What a run's idempotency key was used for is not known any more then.
///
/// ```
/// use std::time::Duration;
/// use oms_engine::Retention;
///
/// let month = Retention::of(Duration::from_secs(30 * 24 * 3_600)).export_to("/var/lib/oms/ended.jsonl");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Retention {
    pub(crate) age: Duration,
    pub(crate) export: Option<PathBuf>,
}

impl Retention {
    /// Ended runs are kept so long.
    pub const fn of(age: Duration) -> Self {
        Self { age, export: None }
    }

    /// Runs are written to this file before they are removed: appended, one a line, as the JSON of
    /// [`Engine::get`](crate::Engine::get), payloads and all. After a crash a run may be in it
    /// twice. While it cannot be written nothing is removed.
    pub fn export_to(mut self, file: impl Into<PathBuf>) -> Self {
        self.export = Some(file.into());
        self
    }
}

/// What to do about the tables when the engine is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartMode {
    /// Check them.
    Check,
    /// Make or upgrade them.
    Migrate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: DEFAULT_SCHEMA.to_owned(),
            name: format!("oms-engine-{}", std::process::id()),
            pumps: 2,
            concurrency: 256,
            pool_size: 4,
            transactional_pool_size: 8,
            deadline: Duration::from_secs(10),
            poll_interval: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_limit: Duration::from_secs(10),
            start: StartMode::Check,
            retention: None,
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.name.is_empty() || self.name.len() > 255 || self.name.contains('\0') {
            let name: String = self.name.chars().take(40).collect();
            return Err(Error::Config(format!("name {name:?}: use 1 to 255 bytes without NUL")));
        }
        let positive = [
            ("pumps", self.pumps),
            ("concurrency", self.concurrency),
            ("pool_size", self.pool_size),
            ("transactional_pool_size", self.transactional_pool_size),
        ];
        for (name, value) in positive {
            if value == 0 || value > 10_000 {
                return Err(Error::Config(format!("{name} is {value}: use 1 to 10000")));
            }
        }
        let times = [
            ("deadline", self.deadline),
            ("poll_interval", self.poll_interval),
            ("heartbeat_interval", self.heartbeat_interval),
            ("heartbeat_limit", self.heartbeat_limit),
        ];
        for (name, value) in times {
            if value < Duration::from_millis(10) || value > Duration::from_secs(3_600) {
                return Err(Error::Config(format!("{name} is {value:?}: use 10 ms to 1 hour")));
            }
        }
        if self.heartbeat_limit < self.heartbeat_interval * 3 {
            return Err(Error::Config(format!(
                "heartbeat_limit {:?} is less than three heartbeat intervals of {:?}",
                self.heartbeat_limit, self.heartbeat_interval
            )));
        }
        Ok(())
    }
}
