//! Pieces come in, and go to those who wait for them.

use oms_engine::{Engine, WorkflowId};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Waiting;
use crate::error::{Doing as _, Error};
use crate::inventory::{Restock, Shelf};
use crate::sql::{RESTOCK, get};

/// An order that waited, and whose pieces are set aside now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Woken {
    /// The order.
    pub order_id: String,
    /// Its run.
    pub workflow_id: Uuid,
}

/// What [`restock_and_serve`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restocked {
    /// The shelves, in the order of the goods, before anybody was served.
    pub shelves: Vec<Shelf>,
    /// The orders that were served, those that had waited longest first.
    pub woken: Vec<Woken>,
}

/// Puts pieces on shelves as [`restock`](crate::restock) does, sets them aside for the orders that wait
/// for them in the same transaction, and has the runs of these go on at once.
///
/// # Errors
/// As [`restock`](crate::restock); nothing was done then.
///
/// # Cancel safety
/// Whether the pieces were added is unknown when the future is dropped. Runs that were not told go on
/// when they look by themselves.
pub async fn restock_and_serve(
    engine: &Engine,
    client: &mut Client,
    goods: &[Restock<'_>],
) -> Result<Restocked, Error> {
    let doing = "restocking";
    let mut skus: Vec<String> = goods.iter().map(|one| one.sku.to_owned()).collect();
    skus.sort_unstable();
    skus.dedup();
    let tx = client.transaction().await.doing(doing)?;
    let waiting = Waiting::find(&tx, &skus).await?;
    let mut shelves = vec![Shelf { on_hand: 0, booked: 0 }; goods.len()];
    // New shelves are written in the order in which others are locked.
    let mut sorted: Vec<(&Restock<'_>, &mut Shelf)> = goods.iter().zip(&mut shelves).collect();
    sorted.sort_by_key(|(one, _)| (one.sku, one.warehouse()));
    for (one, shelf) in sorted {
        let params = [
            (&one.sku as _, Type::TEXT),
            (&one.name as _, Type::TEXT),
            (&one.pieces as _, Type::INT8),
            (&one.price_minor as _, Type::INT8),
            (&one.currency as _, Type::BPCHAR),
            (&one.warehouse() as _, Type::TEXT),
        ];
        for row in RESTOCK.run_in(&tx, &params).await? {
            *shelf = Shelf { on_hand: get(&row, "on_hand")?, booked: get(&row, "booked")? };
        }
    }
    let woken = waiting.serve(&tx).await?;
    tx.commit().await.doing(doing)?;
    wake(engine, &woken).await;
    Ok(Restocked { shelves, woken })
}

/// Has runs look at once for the pieces that are theirs now.
pub(crate) async fn wake(engine: &Engine, woken: &[Woken]) {
    for Woken { order_id, workflow_id } in woken {
        let run = WorkflowId::from_uuid(*workflow_id);
        if let Err(error) = engine.reset_callbacks(run).await {
            tracing::debug!(%order_id, %error, "a run that waited was not told of its pieces");
        }
    }
}
