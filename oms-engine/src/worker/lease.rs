//! Whether a running task still has its lease, as the database knows it.

use std::sync::Arc;

use crate::advance::Core;
use crate::error::Error;
use crate::ids::TaskId;
use crate::queue::PumpHandle;
use crate::store::{Pool, Rented};

/// How leases are checked.
#[derive(Debug)]
pub(crate) struct LeaseCheck {
    core: Arc<Core>,
    pool: Pool,
}

impl LeaseCheck {
    pub(crate) const fn new(core: Arc<Core>, pool: Pool) -> Self {
        Self { core, pool }
    }
}

/// The lease of one running task.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) by: Arc<LeaseCheck>,
    pub(crate) token_id: i64,
    pub(crate) pump: PumpHandle,
}

impl Lease {
    /// [`Error::LeaseLost`] when the token is gone or somebody else's.
    pub(crate) async fn check(&self, task_id: &TaskId) -> Result<(), Error> {
        let mut client = Rented::from(&self.by.pool, "checking a lease").await?;
        let holder = self.pump.holder();
        let held = self.by.core.store.check_lease(client.client()?, self.token_id, holder).await;
        if client.settle(held)? {
            return Ok(());
        }
        if holder != self.pump.holder() || holder == 0 {
            // The pump is on its way to a new connection, and takes its leases along.
            return Err(Error::Connection {
                doing: "checking a lease",
                source: "the engine is reconnecting".into(),
            });
        }
        Err(Error::LeaseLost { task_id: task_id.clone() })
    }
}
