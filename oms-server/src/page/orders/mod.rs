//! Orders, where the order tables of `oms-tasks` are in this database.

mod list;
mod one;
mod veil;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oms_tasks::TABLES_VERSION;
use oms_tasks::orders::Orders;

pub(super) use list::list;
pub(super) use one::{json, one};

use super::entry::Visit;
use crate::refusal::Refusal;

/// Tables that were not there are looked for again so often.
const LOOK: Duration = Duration::from_secs(2);
/// No page waits longer for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where orders are read, and what is known of their tables.
#[derive(Debug)]
pub(crate) struct OrderDesk {
    orders: Orders,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Of the tables; none where there are none.
    version: Option<i32>,
    at: Option<Instant>,
}

impl OrderDesk {
    pub(crate) fn new(orders: Orders) -> Self {
        Self { orders, seen: Mutex::default() }
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the tables were there at the last look.
    pub(super) fn was_open(&self) -> bool {
        self.seen().version.is_some()
    }

    /// Whether the tables are there. Those of this program's version stay; else it is asked now and then.
    pub(super) async fn is_open(&self) -> bool {
        let seen = self.seen();
        let lately = seen.at.is_some_and(|at| at.elapsed() < LOOK);
        if seen.version == Some(TABLES_VERSION) || lately {
            return seen.version.is_some();
        }
        let version = match tokio::time::timeout(PATIENCE, self.orders.tables_version()).await {
            Ok(Ok(version)) => version,
            Ok(Err(error)) => {
                tracing::debug!(%error, "looking for the order tables");
                seen.version
            }
            Err(_) => seen.version,
        };
        let now = Seen { version, at: Some(Instant::now()) };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        version.is_some()
    }
}

/// Where orders are read, if this program can read their tables.
fn desk(visit: &Visit) -> Result<&Orders, Refusal> {
    let none = || Refusal::not_found("this database has no order tables");
    let desk = visit.app.orders.as_ref().filter(|_| visit.orders).ok_or_else(none)?;
    match desk.seen().version {
        Some(TABLES_VERSION) => Ok(&desk.orders),
        found => {
            let found = found.unwrap_or(0);
            let text = format!(
                "the order tables are of version {found}, this program reads those of version \
                 {TABLES_VERSION}"
            );
            Err(Refusal::busy(text))
        }
    }
}
