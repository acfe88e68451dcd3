//! Schedules: fires what is due.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::Shared;
use super::duties::DUE_AFTER_ERROR;
use crate::error::Error;

/// Schedules of one transaction.
const BATCH: i64 = 50;
/// Transactions of one look.
const ROUNDS_MAX: usize = 100;

/// Fires what is due. Out: how long nothing more will be.
pub(super) async fn fire_due(
    shared: &Shared,
    client: &mut ClientWrapper,
) -> Result<Option<Duration>, Error> {
    let core = &shared.core;
    let (mut limit, mut without) = (BATCH, Vec::new());
    for _ in 0..ROUNDS_MAX {
        let mut taken = Vec::new();
        match core.fire_schedules(client, limit, &without, &mut taken).await {
            Ok(_) if taken.is_empty() => break,
            Ok(fired) => {
                for queue in fired.ready {
                    shared.ready(&queue);
                }
                if fired.timed {
                    shared.wakes.due_in(Duration::ZERO);
                }
            }
            Err(error) if error.is_retryable() => return Err(error),
            // One of them is at fault: it is found by trying each alone.
            Err(_) if taken.len() > 1 => limit = 1,
            Err(error) => {
                let Some(name) = taken.pop() else { return Err(error) };
                tracing::error!(%error, schedule = name, "a schedule could not fire");
                match core.fail_fire(client, &name, &error.to_string()).await {
                    Ok(()) => {}
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => tracing::error!(%error, schedule = name, "it stands still"),
                }
                without.push(name);
            }
        }
    }
    let next = core.store.next_fire(client, &without).await?;
    // Those that were left out are looked at again a little later.
    let again = (!without.is_empty()).then_some(DUE_AFTER_ERROR);
    Ok(next.into_iter().chain(again).min())
}
