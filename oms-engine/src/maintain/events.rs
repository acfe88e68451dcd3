//! Looks after events: lays out what handlers do about them, and does it.

use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use super::duties::LOOK_MAX;
use crate::error::Error;
use crate::store::Rented;

/// After an error.
const AGAIN: Duration = Duration::from_millis(250);

/// Lives until the engine stops.
pub(crate) async fn run_events(shared: Shared) {
    let stop = shared.stop.clone();
    let work = async {
        loop {
            if let Err(error) = drain(&shared).await {
                tracing::warn!(%error, "events wait");
                sleep(AGAIN).await;
                continue;
            }
            tokio::select! {
                () = shared.wakes.published() => {}
                () = sleep(LOOK_MAX) => {}
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Does all that is to be done now. A transaction that is cut off has done nothing.
async fn drain(shared: &Shared) -> Result<(), Error> {
    let mut rented = Rented::from(&shared.event_pool, "getting a connection for events").await?;
    loop {
        let core = &shared.core;
        let laid_out = core.lay_out_events(rented.client()?).await;
        let laid_out = match laid_out {
            Ok(laid_out) => laid_out,
            Err(error) => return rented.settle(Err(error)),
        };
        let mut acted = false;
        loop {
            match core.next_event_action(rented.client()?).await {
                Ok(Some(done)) => {
                    acted = true;
                    shared.tell(done).await;
                }
                Ok(None) => break,
                Err(error) => return rented.settle(Err(error)),
            }
        }
        if !laid_out && !acted {
            rented.put_back();
            return Ok(());
        }
    }
}
