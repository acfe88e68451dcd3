//! Filling the shelves.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{Doing as _, Error};
use crate::sql::{RESTOCK, get};

/// The warehouse of whoever names none, and of version 1 of `order_fulfilment`.
pub const MAIN_WAREHOUSE: &str = "main";

/// Pieces of an article in a warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// In the house.
    pub on_hand: i64,
    /// Of these, promised to orders.
    pub booked: i64,
}

/// What is put on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restock<'a> {
    /// The article's key.
    pub sku: &'a str,
    /// Its name for readers.
    pub name: &'a str,
    /// Pieces that are added to those on hand; 0 for a new article that is not in the house yet.
    pub pieces: i64,
    /// Price of one piece in minor units, from now on.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// Where the pieces are, 1 to 100 characters; none: in [`MAIN_WAREHOUSE`].
    pub warehouse: Option<&'a str>,
}

impl Restock<'_> {
    pub(crate) fn warehouse(&self) -> &str {
        self.warehouse.unwrap_or(MAIN_WAREHOUSE)
    }
}

/// Puts pieces on a shelf and sets name and price; makes the shelf of a new article.
///
/// # Errors
/// Database errors; a negative count, a price of 0 or less or a bad currency is refused by the
/// tables' constraints.
///
/// # Cancel safety
/// Whether the pieces were added is unknown when the future is dropped.
pub async fn restock(client: &Client, goods: &Restock<'_>) -> Result<Shelf, Error> {
    let row = client
        .query_typed_one(
            RESTOCK.text,
            &[
                (&goods.sku, Type::TEXT),
                (&goods.name, Type::TEXT),
                (&goods.pieces, Type::INT8),
                (&goods.price_minor, Type::INT8),
                (&goods.currency, Type::BPCHAR),
                (&goods.warehouse(), Type::TEXT),
            ],
        )
        .await
        .doing(RESTOCK.name)?;
    Ok(Shelf { on_hand: get(&row, "on_hand")?, booked: get(&row, "booked")? })
}
