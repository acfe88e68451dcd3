//! `order_closure`: closes the order to the five tasks, before anything is undone.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::order::Customer;
use crate::sql::{CLOSE_ORDER, get};

/// Characters of a reason that are kept.
const REASON_MAX: usize = 1_000;

/// The first task of `order_unwinding`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderClosure;

/// What [`OrderClosure`] is given.
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    /// The order and the failed run.
    #[serde(flatten)]
    pub failed: FailedOrder,
    /// Why the run failed.
    #[serde(default)]
    pub reason: Value,
    /// The failed run's customer, who may be anything: the run may have failed because of it.
    #[serde(default)]
    pub customer: Value,
}

/// What [`OrderClosure`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether this attempt closed the order; not when it was closed before, is another run's, or
    /// there can be none.
    pub closed: bool,
    /// How far the order had got; null when it had not been acknowledged.
    pub status_before: Option<String>,
}

impl TransactionalTask for OrderClosure {
    const NAME: &'static str = "order_closure";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Input,
    ) -> Result<Output, TaskError> {
        close(tx, input).await.map_err(Error::into_task_error)
    }
}

async fn close(tx: &Transaction<'_>, input: Input) -> Result<Output, Error> {
    let Some(order_id) = &input.failed.order_id else {
        return Ok(Output { closed: false, status_before: None });
    };
    let customer: Option<Customer> = serde_json::from_value(input.customer).ok();
    let customer = customer.filter(Customer::is_valid);
    let name = customer.as_ref().map(|customer| customer.name.as_str());
    let email = customer.as_ref().map(|customer| customer.email.as_str());
    let rows = CLOSE_ORDER
        .run_in(
            tx,
            &[
                (order_id, Type::TEXT),
                (&input.failed.workflow_id, Type::UUID),
                (&reason_text(&input.reason), Type::TEXT),
                (&name, Type::TEXT),
                (&email, Type::TEXT),
            ],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok(Output { closed: true, status_before: get(row, "status_before")? }),
        None => Ok(Output { closed: false, status_before: None }),
    }
}

fn reason_text(reason: &Value) -> String {
    let text = match reason {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
    if text.is_empty() { "no reason was given".to_owned() } else { text }
}
