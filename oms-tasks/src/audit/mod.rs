//! Whether the books are in balance: what was taken, set aside, shipped and told is what the orders say.
//!
//! One statement over all orders, to be asked by tests after faults, or by a shop at night. It changes
//! nothing and locks nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{Doing as _, Error};
use crate::sandbox::OrderTotals;
use crate::sql::get;

const BOOKS: &str = include_str!("books.sql");

/// What the books are held to beside themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Audit {
    /// What the gateway and the carrier say of each order, by its id; none: they are not asked.
    pub witness: Option<BTreeMap<String, OrderTotals>>,
    /// All pieces that ever came in, by sku; an article that is not named is not counted.
    pub came_in: BTreeMap<String, i64>,
    /// The schema of the engine's tables.
    pub engine_schema: String,
}

impl Default for Audit {
    fn default() -> Self {
        Self { witness: None, came_in: BTreeMap::new(), engine_schema: "oms_engine".to_owned() }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What should hold and does not.
    pub rule: String,
    /// Of which order or article, and in which way.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

impl Audit {
    /// All that is wrong as of one moment; nothing when the books are in balance.
    ///
    /// # Errors
    /// Database errors.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn run(&self, client: &Client) -> Result<Vec<Finding>, Error> {
        let schema = format!("\"{}\"", self.engine_schema.replace('"', "\"\""));
        let sql = BOOKS.replace("{schema}", &schema);
        let witness = self.witness.as_ref().map(|told| {
            told.iter().map(|(id, totals)| totals.as_json(id)).collect::<serde_json::Value>()
        });
        let came_in = json!(self.came_in);
        let params = [(&witness as _, Type::JSONB), (&came_in as _, Type::JSONB)];
        let rows = client.query_typed(&sql, &params).await.doing("auditing the books")?;
        rows.iter()
            .map(|row| Ok(Finding { rule: get(row, "rule")?, detail: get(row, "detail")? }))
            .collect()
    }
}

impl OrderTotals {
    fn as_json(&self, order_id: &str) -> serde_json::Value {
        json!({
            "order_id": order_id,
            "charges": self.charges,
            "charged_minor": self.charged_minor,
            "refunds": self.refunds,
            "refunded_minor": self.refunded_minor,
            "authorisations": self.authorisations,
            "authorised_minor": self.authorised_minor,
            "voids": self.voids,
            "captures": self.captures,
            "captured_minor": self.captured_minor,
            "part_refunded_minor": self.part_refunded_minor,
            "bookings": self.bookings,
            "cancellations": self.cancellations,
        })
    }
}
