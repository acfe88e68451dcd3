//! Steps of runs in which JOINs go by their lists: one at a time, each sees all that is open.

use deadpool_postgres::Transaction;

use super::load::{Run, load_runs};
use super::one::asked;
use super::{Acted, Core};
use crate::decide::{Decision, Plan, instance};
use crate::error::Error;
use crate::store::Token;

/// The loop that what floats beside a task belongs to: its reference name with turns.
pub(super) fn loop_around(plan: &Plan, reference_name: &str) -> Option<String> {
    let (node, turns) = plan.graph.find(reference_name)?;
    let of = plan.graph.get(plan.graph.region(node)?)?;
    Some(instance(&of.reference_name, turns.get(..of.loops)?))
}

impl Core {
    /// The run as it is under the lock of its lists, for a token that is locked.
    pub(super) async fn look_beside(
        &self,
        tx: &Transaction<'_>,
        run: Run,
        token: &Token,
    ) -> Result<Run, Error> {
        // No JOIN is open of a run that is undone.
        if !run.plan.graph.by_list || run.state.undoing {
            return Ok(run);
        }
        let id = token.workflow_id;
        self.store.lock_lists(tx, id).await?;
        let asked = [asked(token)];
        let mut loaded = load_runs(&self.store, tx, &self.plans, &asked).await?;
        let Some(mut run) = loaded.pop().flatten() else {
            return Err(Error::invariant(id, "it has an open task and no row"));
        };
        let listed = &run.plan.graph.listed;
        let mut beside = self.store.load_beside(tx, id, token.id, listed).await?;
        if run.plan.graph.floats
            && let Some(name) = loop_around(&run.plan, asked[0].reference_name)
        {
            let around = self.store.load_around(tx, token.scope, &name).await?;
            let (around, lineages) =
                around.ok_or_else(|| Error::invariant(id, format!("{name:?} is not open")))?;
            (beside.around, beside.lineages) = (Some(around), i64::from(lineages));
        }
        run.state.beside = Some(beside);
        Ok(run)
    }

    /// What floats is counted before the step is written: its tokens stand in the loop then.
    pub(super) async fn grow(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        decision: &Decision,
    ) -> Result<(), Error> {
        let around = run.state.beside.as_ref().and_then(|beside| beside.around);
        let (Some(around), false) = (around, decision.lineages == 0) else { return Ok(()) };
        let lineages = i32::try_from(decision.lineages).unwrap_or(i32::MAX);
        self.store.grow_loop(tx, around, lineages).await
    }

    /// Wakes JOINs after a step that was written.
    pub(super) async fn wake(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        decision: &Decision,
        done: &mut Acted,
    ) -> Result<(), Error> {
        if run.state.beside.is_some() && decision.end.is_none() {
            done.ready.extend(self.store.wake_joins(tx, run.state.id, &decision.listed).await?);
        }
        Ok(())
    }
}
