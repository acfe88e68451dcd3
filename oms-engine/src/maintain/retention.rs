//! Removes what ended long ago. Each engine comes to it; one does it at a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;
use crate::advance::{Sweep, Swept};
use crate::config::Retention;
use crate::error::Error;

/// Between two ways through all runs.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Lives until the engine stops.
pub(crate) async fn run_retention(shared: Shared) {
    let Some(retention) = shared.config.retention.clone() else { return };
    let interval = (retention.age / 4).clamp(INTERVAL_MIN, INTERVAL_MAX);
    let stop = shared.stop.clone();
    let work = async {
        loop {
            match sweep(&shared, &retention).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed workflows that ended long ago"),
                Err(error) => tracing::warn!(%error, "old workflows are not removed"),
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Once through all runs, on a connection of its own. Out: how many were removed.
async fn sweep(shared: &Shared, retention: &Retention) -> Result<usize, Error> {
    let (mut client, _notifications) = shared.connector.connect().await?;
    let mut sweep = Sweep::new(retention);
    let mut removed = 0;
    loop {
        let begun = Instant::now();
        match sweep.step(&shared.core, &mut client).await? {
            Swept::Removed(runs) => removed += runs,
            Swept::Busy | Swept::All => return Ok(removed),
        }
        // At most half of the time.
        sleep(begun.elapsed()).await;
    }
}
