//! The five workers of an order-management system, on [`oms_engine`].
//!
//! `order_fulfilment` takes an order through [`order_acknowledgement`], [`payment_processing`],
//! [`stock_booking`], [`delivery_scheduling`] and [`notification`]. When a step fails for good,
//! `order_unwinding` ([`unwinding`]) undoes what was done. `docs/order-tables.md` describes the
//! tables, the states of an order and the input of `order_fulfilment`.

pub mod audit;
pub mod definitions;
pub mod delivery_scheduling;
mod error;
pub mod fulfilment;
mod inventory;
mod migrate;
pub mod money;
pub mod notification;
pub mod notifiers;
pub mod order;
pub mod order_acknowledgement;
pub mod orders;
pub mod payment;
pub mod payment_processing;
pub mod ports;
pub mod sandbox;
pub mod sender;
pub mod shipping;
mod sql;
mod stage;
pub mod stock;
pub mod stock_booking;
#[cfg(feature = "stripe")]
pub mod stripe;
mod summary;
mod tasks;
pub mod unwinding;

pub use error::Error;
pub use inventory::{MAIN_WAREHOUSE, Restock, Shelf, restock};
pub use migrate::{TABLES_VERSION, migrate, migration_sql};
pub use summary::{
    AuthorisationSummary, BookingSummary, DeliverySummary, ItemSummary, NotificationSummary,
    OrderEvent, OrderSummary, PaymentSummary, PiecesSummary, RefundSummary, ReservationSummary,
    UpdateSummary, order_summary,
};
pub use tasks::OrderTasks;

// Named in this crate's API.
pub use async_trait;
pub use deadpool_postgres;
pub use tokio_postgres;
