//! The one write path: outcomes become a decision, a decision becomes one transaction.
//!
//! The fast way decides from memory and writes many runs with the hot statement; the pump in
//! `queue/` does it. What the hot statement refuses (a paused run, a changed rev) and what needs
//! more than one statement (a failure workflow) goes the slow way: one run in a transaction of
//! its own. Operators' actions and workflow time-outs take all tokens of a run first.

mod child;
mod events;
mod execution;
mod explain;
mod failure;
mod family;
#[cfg(feature = "cron")]
mod fire;
mod ledger;
mod lists;
mod load;
mod memory;
mod one;
mod operate;
mod outside;
mod plans;
mod polled;
mod rerun;
mod retention;
mod route;
mod rows;
mod schemas;
mod shown;
mod start;
mod take;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod undo;

use std::time::Duration;

use deadpool_postgres::ClientWrapper;

pub(crate) use events::{EVENTS_NOTE, not_open};
pub use execution::{Execution, TaskExecution};
pub use explain::{
    Explanation, OpenTaskExplained, PathStep, StepTime, TimeExplained, TimeSpent, WaitsFor,
};
pub(crate) use load::{Run, load_runs};
pub(crate) use memory::{Planned, PlannedTask, plan_step};
pub(crate) use one::{Happened, OneStep, asked};
pub(crate) use operate::Operation;
pub(crate) use outside::{Said, must_be_heard};
pub(crate) use plans::Plans;
pub use polled::PolledTask;
pub(crate) use rerun::{Rerun, RerunFrom};
pub(crate) use retention::{Sweep, Swept};
pub(crate) use start::{Begun, Met, NewRun, Resolved, met, resolve};

use crate::error::{Error, Remedy, remedy};
use crate::ids::{WorkflowId, draw_jitter};
pub use crate::store::NotCompensated;
use crate::store::{OpenedRow, OperationNote, Store, TokenState};
use crate::telemetry::{Tally, database_retry};

/// How often a transaction is repeated that met a deadlock, a lock that was not to be had, or a
/// run that moved on.
const REPEATS_MAX: u32 = 10;

/// What every write needs.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) plans: Plans,
}

/// Something that is done to one run in a transaction of its own.
#[derive(Debug)]
pub(crate) enum Action<'a> {
    /// A step, the slow way.
    Step(&'a OneStep),
    /// An operator's action, or the run's time is up.
    Operate(WorkflowId, &'a Operation),
}

/// Who does it, where that is recorded.
pub(crate) type By<'a> = Option<OperationNote<'a>>;

/// What an action did.
#[derive(Debug, Default)]
pub(crate) struct Acted {
    /// The token is gone or somebody else's: the report has no effect.
    pub(crate) lost: bool,
    /// Queues that have ready tasks now.
    pub(crate) ready: Vec<String>,
    /// The run, where it has ended.
    pub(crate) ended: Option<WorkflowId>,
    /// Queues of leased tasks that ended: what has a limit has room again.
    pub(crate) freed: Vec<String>,
    /// Leased tokens that were taken from their holders.
    pub(crate) taken: Vec<i64>,
    /// Something was delayed or given a time: the timer must look again.
    pub(crate) timed: bool,
    /// To be counted once it is committed.
    pub(crate) tally: Tally,
}

impl Acted {
    /// A task is opened by it.
    fn opens(&mut self, row: &OpenedRow) {
        self.timed |= row.is_timed();
        if row.status.is_none() && row.state == TokenState::Ready {
            self.ready.push(row.queue.to_string());
        }
        if row.attempt > 0 {
            self.tally.retried.push(row.queue.to_string());
        }
    }
}

impl Core {
    /// Does an action, repeating it while the database asks for that.
    ///
    /// An error that leaves the commit's fate open comes back as it is: the caller reads back.
    pub(crate) async fn act(
        &self,
        client: &mut ClientWrapper,
        action: &Action<'_>,
        by: By<'_>,
    ) -> Result<Acted, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.act_once(client, action, by).await {
                Err(error) if tries < REPEATS_MAX && repeats(&error) => {
                    database_retry(&error);
                    let wait = Duration::from_millis(2 << tries.min(6)).mul_f64(draw_jitter());
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
    }

    async fn act_once(
        &self,
        client: &mut ClientWrapper,
        action: &Action<'_>,
        by: By<'_>,
    ) -> Result<Acted, Error> {
        let store = &self.store;
        let (tx, done);
        match action {
            Action::Step(step) => {
                tx = store.begin(client).await?;
                done = Box::pin(self.step(&tx, step)).await?;
            }
            Action::Operate(id, operation) => {
                // In a deadlock with a step this one gives way.
                tx = store.begin_giving_way(client).await?;
                done = Box::pin(self.operate(&tx, *id, operation)).await?;
            }
        }
        if let Some(note) = by.filter(|_| !done.lost) {
            store.note_operation(&tx, &note).await?;
        }
        store.commit(tx).await?;
        done.tally.count();
        Ok(done)
    }
}

pub(super) fn repeats(error: &Error) -> bool {
    match error {
        Error::Database { source, .. } => remedy(source) == Remedy::RepeatTransaction,
        Error::Moved { .. } => true,
        _ => false,
    }
}
