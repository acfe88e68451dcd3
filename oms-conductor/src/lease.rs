//! Keeping a task while it runs: the server hears of it well before its response time-out, and says
//! whether it has given it up.

use std::time::Duration;

use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;

use crate::conductor::Conductor;
use crate::wire::{PolledTask, Status, TaskResult};

/// So often within the response time-out, so that one answer that is lost does no harm.
const SHARE: u32 = 3;
/// At least so often, whatever the time-out: a task that was given up should not go on for long.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Extends a task's lease for as long as this runs; cancels the task when the server has given it up.
pub(crate) async fn keep(
    conductor: Conductor,
    worker: String,
    task: PolledTask,
    lost: CancellationToken,
) {
    let timeout = task.response_timeout();
    let pause = timeout.map_or(PAUSE_MAX, |timeout| (timeout / SHARE).min(PAUSE_MAX));
    let mut result = TaskResult::new(&task, &worker, Status::InProgress);
    result.extend_lease = true;
    let Ok(body) = serde_json::to_vec(&result).map(Bytes::from) else { return };
    loop {
        tokio::time::sleep(pause).await;
        if timeout.is_some()
            && let Err(error) = conductor.update(&body, false).await
        {
            let (error, task_id) = (error.in_full(), &task.task_id);
            tracing::warn!(error, task_id, "a lease could not be extended");
        }
        // Extending tells nothing: servers take it for tasks that ended, too.
        if let Ok(false) = conductor.is_open(&task.task_id).await {
            tracing::warn!(
                task_id = task.task_id,
                "the server has given a task up; it is canceled"
            );
            return lost.cancel();
        }
    }
}
