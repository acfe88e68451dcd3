//! Stock for orders of several lines: set aside for a time, waited for, put back and shipped.
//!
//! Orders are locked first, in the order of their ids, then shelves in that of their skus and warehouses.
//! Which warehouses an order's pieces come from is chosen under these locks (`split`). A shelf's constraint
//! (booked <= on hand) holds whatever happens here. Who frees pieces serves those who wait for them in the
//! same transaction, first come first served; orders that somebody else has in hand at that moment are passed
//! by, and look for themselves at their next turn.

mod back_order;
mod ending;
mod reservation;
mod restocking;
mod split;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

pub use back_order::BackOrder;
pub use ending::{
    ExpiryOutput, ReleaseOutput, ReservationConfirmation, ReservationExpiry, ReservationRelease,
    StockDispatch,
};
pub(crate) use ending::{confirm, ship};
pub use reservation::{Input as ReservationInput, Output as ReservationOutput, StockReservation};
pub(crate) use restocking::wake;
pub use restocking::{Restocked, Woken, restock_and_serve};

use crate::error::Error;
use crate::sql::{
    FIND_ORDERS, FIND_SKUS, FIND_WAITING, FIND_WANTED, LOCK_SHELVES, MOVE_RESERVATIONS,
    RESERVE_STOCK, by_order, get,
};
use crate::stage::Stage;
use split::{Free, Pieces, Wanted};

/// Orders that are served at once when pieces come.
const SERVED_MAX: i64 = 200;

/// What becomes of an order for which there are not enough pieces of each of its articles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenShort {
    /// It waits, with none of its pieces set aside, until there is enough for all of its lines.
    #[default]
    BackOrder,
    /// It is refused.
    Refuse,
}

/// The order of a reservation, as most of the tasks are given it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReservedOrder {
    /// The order.
    pub order_id: String,
}

/// What is asked for an order.
#[derive(Debug)]
struct Asked {
    order_id: String,
    when_short: WhenShort,
    hold_seconds: Option<i32>,
}

/// What an order has.
#[derive(Debug)]
struct Held {
    order_status: String,
    /// The reservation's status; none for none.
    status: Option<String>,
    pieces: i64,
    short: Vec<String>,
}

/// What a reservation has come to.
#[derive(Debug)]
struct Moved {
    before: Option<String>,
    after: Option<String>,
    /// Seconds until it may expire.
    due_in: Option<f64>,
    pieces: i64,
}

/// Locks orders until the transaction ends. Statements after it see what others wrote for them.
async fn lock_orders(tx: &Transaction<'_>, ids: &[String]) -> Result<(), Error> {
    FIND_ORDERS.run_in(tx, &[(&ids, Type::TEXT_ARRAY)]).await?;
    Ok(())
}

/// Locks the shelves of these articles and of those of these orders; what is free on them.
async fn lock_shelves(tx: &Transaction<'_>, skus: &[&str], ids: &[&str]) -> Result<Free, Error> {
    let params = [(&skus as _, Type::TEXT_ARRAY), (&ids as _, Type::TEXT_ARRAY)];
    let mut free = Free::default();
    for row in LOCK_SHELVES.run_in(tx, &params).await? {
        free.put(get(&row, "sku")?, get(&row, "warehouse")?, get(&row, "free")?);
    }
    Ok(free)
}

/// What is chosen for orders.
#[derive(Debug, Default)]
struct Chosen {
    /// Pieces, each with the order that gets it.
    pieces: Vec<(String, Pieces)>,
    /// Of those that get nothing the articles that are short, by their ids.
    short: HashMap<String, Vec<String>>,
}

/// Chooses pieces for those of the orders, which are locked, that may be given some: one after the other, so
/// that each is left what those before it did not take.
async fn choose(tx: &Transaction<'_>, ids: &[&str]) -> Result<Chosen, Error> {
    let mut chosen = Chosen::default();
    let rows = FIND_WANTED.run_in(tx, &[(&ids, Type::TEXT_ARRAY)]).await?;
    if rows.is_empty() {
        return Ok(chosen);
    }
    let mut wanted: HashMap<&str, Vec<Wanted>> = HashMap::new();
    let mut skus: Vec<&str> = Vec::with_capacity(rows.len());
    for row in &rows {
        let one = Wanted { sku: get(row, "sku")?, quantity: get(row, "quantity")? };
        skus.push(get(row, "sku")?);
        wanted.entry(get(row, "order_id")?).or_default().push(one);
    }
    let mut free = lock_shelves(tx, &skus, &[]).await?;
    for id in ids {
        let Some(order) = wanted.remove(id) else { continue };
        match free.take(&order) {
            Ok(pieces) => {
                chosen.pieces.extend(pieces.into_iter().map(|one| ((*id).to_owned(), one)));
            }
            Err(short) => {
                chosen.short.insert((*id).to_owned(), short);
            }
        }
    }
    Ok(chosen)
}

/// Reserves for orders that are locked, for one after the other; what each has then, by its id.
async fn reserve(tx: &Transaction<'_>, asked: &[Asked]) -> Result<HashMap<String, Held>, Error> {
    let ids: Vec<&str> = asked.iter().map(|one| &*one.order_id).collect();
    let Chosen { pieces, mut short } = choose(tx, &ids).await?;
    let texts = |text: fn(&(String, Pieces)) -> &str| pieces.iter().map(text).collect::<Vec<_>>();
    let quantities: Vec<i64> = pieces.iter().map(|(_, one)| one.quantity).collect();
    let waits: Vec<bool> = asked.iter().map(|one| one.when_short == WhenShort::BackOrder).collect();
    let seconds: Vec<Option<i32>> = asked.iter().map(|one| one.hold_seconds).collect();
    let bodies = |stage: Stage| -> Vec<String> { ids.iter().map(|id| stage.body(id)).collect() };
    let params = [
        (&ids as _, Type::TEXT_ARRAY),
        (&waits as _, Type::BOOL_ARRAY),
        (&seconds as _, Type::INT4_ARRAY),
        (&bodies(Stage::Booked) as _, Type::TEXT_ARRAY),
        (&bodies(Stage::BackOrdered) as _, Type::TEXT_ARRAY),
        (&texts(|(id, _)| id) as _, Type::TEXT_ARRAY),
        (&texts(|(_, one)| &one.sku) as _, Type::TEXT_ARRAY),
        (&texts(|(_, one)| &one.warehouse) as _, Type::TEXT_ARRAY),
        (&quantities as _, Type::INT8_ARRAY),
    ];
    let rows = RESERVE_STOCK.run_in(tx, &params).await?;
    let mut held = |id: &str, row: &Row| {
        Ok::<_, Error>(Held {
            order_status: get(row, "order_status")?,
            status: get(row, "after")?,
            pieces: get(row, "pieces")?,
            short: short.remove(id).unwrap_or_default(),
        })
    };
    let rows = by_order(&rows)?;
    rows.into_iter().map(|(id, row)| Ok((id.to_owned(), held(id, row)?))).collect()
}

/// Brings reservations of orders that are locked to a status; those that may not stay what they are.
async fn bring_to(
    tx: &Transaction<'_>,
    ids: &[String],
    status: &str,
) -> Result<HashMap<String, Moved>, Error> {
    let params = [(&ids as _, Type::TEXT_ARRAY), (&status as _, Type::TEXT)];
    let rows = MOVE_RESERVATIONS.run_in(tx, &params).await?;
    let moved = |row: &Row| {
        Ok::<_, Error>(Moved {
            before: get(row, "before")?,
            after: get(row, "after")?,
            due_in: get(row, "due_in")?,
            pieces: get(row, "pieces")?,
        })
    };
    let rows = by_order(&rows)?;
    rows.into_iter().map(|(id, row)| Ok((id.to_owned(), moved(row)?))).collect()
}

/// Orders that wait for articles, in hand until the transaction ends.
#[derive(Debug)]
pub(crate) struct Waiting(Vec<(String, Uuid)>);

impl Waiting {
    /// Locks those who wait for these articles, and all shelves that they or the caller will touch, in
    /// one order. Then the caller frees pieces.
    pub(crate) async fn find(tx: &Transaction<'_>, skus: &[String]) -> Result<Self, Error> {
        let params = [(&skus as _, Type::TEXT_ARRAY), (&SERVED_MAX as _, Type::INT8)];
        let rows = FIND_WAITING.run_in(tx, &params).await?;
        let mut waiting: Vec<(String, Uuid)> = Vec::with_capacity(rows.len());
        for row in &rows {
            waiting.push((get(row, "order_id")?, get(row, "workflow_id")?));
        }
        let ids: Vec<&str> = waiting.iter().map(|(id, _)| &**id).collect();
        let skus: Vec<&str> = skus.iter().map(|sku| &**sku).collect();
        lock_shelves(tx, &skus, &ids).await?;
        Ok(Self(waiting))
    }

    /// Sets pieces aside for each for whom there are enough now.
    pub(crate) async fn serve(self, tx: &Transaction<'_>) -> Result<Vec<Woken>, Error> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let asked = |(order_id, _): &(String, Uuid)| Asked {
            order_id: order_id.clone(),
            when_short: WhenShort::BackOrder,
            hold_seconds: None,
        };
        let asked: Vec<Asked> = self.0.iter().map(asked).collect();
        let held = reserve(tx, &asked).await?;
        let woken =
            self.0.into_iter().map(|(order_id, workflow_id)| Woken { order_id, workflow_id });
        let is_served = |one: &Woken| {
            held.get(&one.order_id).is_some_and(|held| held.status.as_deref() == Some("RESERVED"))
        };
        Ok(woken.filter(is_served).collect())
    }
}

/// Ends the reservation of an order in a way that may free its pieces.
async fn end(
    tx: &Transaction<'_>,
    order_id: &str,
    status: &str,
) -> Result<Option<(Moved, Vec<Woken>)>, Error> {
    let ids = [order_id.to_owned()];
    lock_orders(tx, &ids).await?;
    let rows = FIND_SKUS.run_in(tx, &[(&ids.as_slice(), Type::TEXT_ARRAY)]).await?;
    let skus = rows.iter().map(|row| get(row, "sku")).collect::<Result<Vec<String>, _>>()?;
    let waiting = Waiting::find(tx, &skus).await?;
    let mut moved = bring_to(tx, &ids, status).await?;
    let woken = waiting.serve(tx).await?;
    Ok(moved.remove(order_id).map(|moved| (moved, woken)))
}
