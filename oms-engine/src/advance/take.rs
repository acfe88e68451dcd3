//! Taking all tokens of a run: the one way to stop or change a run from outside a step.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;

use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{DueToken, RunRow, Store};

/// Rounds before it is given up; each round but the last saw a step commit in between.
const ROUNDS_MAX: usize = 100;

/// All tokens of a run and its row, locked.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) row: RunRow,
    pub(crate) leaves: Vec<DueToken>,
}

/// Locks all leaves of a run, then its containers, then its row. None: there is no such run.
///
/// One statement would miss the successor that a concurrent step inserts: its snapshot is older.
/// So the leaves are locked with fresh statements until the same ones come back: any snapshot
/// shows each live lineage as a token. `Err` with [`Error::Conflict`] tells the caller to repeat
/// the transaction.
pub(crate) async fn take_all(
    store: &Store,
    tx: &Transaction<'_>,
    id: WorkflowId,
) -> Result<Option<Taken>, Error> {
    let leaves = settle(store, tx, id).await?;
    let containers = store.lock_containers(tx, id).await?;
    let again = store.lock_leaves(tx, id).await?;
    if ids(&again) != ids(&leaves) {
        return Err(moved(id));
    }
    let Some(row) = store.lock_workflow(tx, id).await? else { return Ok(None) };
    // A run that lives has a token of its own. One without had ended when its tokens were looked
    // for, and a retry or a restart has brought it back since.
    let of_others = again.iter().all(|leaf| leaf.token.is_control());
    if of_others && containers == 0 && !row.status.is_terminal() {
        return Err(moved(id));
    }
    Ok(Some(Taken { row, leaves: again }))
}

/// Locks what is left of a run after one of its steps was written: leaves, then containers.
pub(super) async fn take_rest(
    store: &Store,
    tx: &Transaction<'_>,
    id: WorkflowId,
) -> Result<Vec<DueToken>, Error> {
    let leaves = settle(store, tx, id).await?;
    store.lock_containers(tx, id).await?;
    let again = store.lock_leaves(tx, id).await?;
    if ids(&again) == ids(&leaves) { Ok(again) } else { Err(moved(id)) }
}

async fn settle(
    store: &Store,
    tx: &Transaction<'_>,
    id: WorkflowId,
) -> Result<Vec<DueToken>, Error> {
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let leaves = store.lock_leaves(tx, id).await?;
        let now = ids(&leaves);
        if now == seen {
            return Ok(leaves);
        }
        seen = now;
    }
    Err(moved(id))
}

fn ids(leaves: &[DueToken]) -> BTreeSet<i64> {
    leaves.iter().map(|leaf| leaf.token.id).collect()
}

fn moved(workflow_id: WorkflowId) -> Error {
    Error::Moved { workflow_id }
}
