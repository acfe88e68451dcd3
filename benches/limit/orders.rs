//! The five order tasks in bare SQL: the statements of the tasks themselves, each with the end of its
//! step in one transaction where the task is transactional.

use std::sync::Arc;

use oms_engine::WorkflowId;
use oms_engine::tokio_postgres::types::{Json, ToSql};
use oms_engine::tokio_postgres::{Client, Row, Statement};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::measure::Failure;
use crate::measure::orders::{DAY, order, order_id};
use crate::measure::place::connect;

const TASKS: [&str; 5] = [
    "order_acknowledgement",
    "payment_processing",
    "stock_booking",
    "delivery_scheduling",
    "notification",
];

macro_rules! statements {
    ($($name:ident),*) => {
        struct Statements { start: Statement, step: Statement, $($name: Statement),* }

        impl Statements {
            async fn prepare(client: &Client) -> Result<Self, Failure> {
                Ok(Self {
                    start: client.prepare(include_str!("sql/start.sql")).await?,
                    step: client.prepare(include_str!("sql/step.sql")).await?,
                    $($name: client.prepare(include_str!(concat!(
                        "../../oms-tasks/src/sql/", stringify!($name), ".sql"
                    ))).await?),*
                })
            }
        }
    };
}

statements!(
    acknowledge_order,
    intend_payment,
    capture_payment,
    book_stock,
    intend_delivery,
    confirm_delivery,
    complete_order
);

/// Takes so many orders through, one at a time on each connection.
pub(crate) async fn work(url: &str, orders: usize, connections: usize) -> Result<(), Failure> {
    let mut at_work = JoinSet::new();
    for number in 0..connections {
        let mut shop = Shop::open(url, i64::try_from(number + 1)?).await?;
        let own: Vec<usize> = (number..orders).step_by(connections).collect();
        at_work.spawn(async move {
            for n in own {
                shop.fulfil(n).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = at_work.join_next().await {
        done??;
    }
    Ok(())
}

struct Shop {
    client: Client,
    statements: Arc<Statements>,
    holder: i64,
}

/// A step that ends, and what follows.
#[derive(Clone, Copy)]
struct Ending<'a> {
    token: i64,
    input: &'a Value,
    next: Option<&'static str>,
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

impl Shop {
    async fn open(url: &str, holder: i64) -> Result<Self, Failure> {
        let client = connect(url).await?;
        client.batch_execute(&oms_engine::testkit::planner()).await?;
        let statements = Arc::new(Statements::prepare(&client).await?);
        Ok(Self { client, statements, holder })
    }

    async fn fulfil(&mut self, n: usize) -> Result<(), Failure> {
        let sql = self.statements.clone();
        let (order, id, run) = (order(n), order_id(n), WorkflowId::new().as_uuid());
        let [acknowledgement, payment, booking, delivery, notification] = TASKS;
        let mut token = self.start(run, &order, acknowledgement).await?;

        let text = |path: &str| order.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (name, email) = (text("/customer/name"), text("/customer/email"));
        let (sku, ship_to) = (text("/lines/0/sku"), order.get("ship_to"));
        let (skus, pieces) = (vec![sku], vec![2_i32]);
        let body = format!("We have received your order {id}.");
        let params: &Params<'_> =
            &[&id, &run, &name, &email, &ship_to, &"EUR", &skus, &pieces, &body];
        let (whole, short) = (json!({"order": order}), json!({"order_id": id}));
        let output = |row: &Row| {
            let total: Option<i64> = row.get("total_minor");
            json!({"order_id": id, "total_minor": total, "currency": "EUR"})
        };
        let ending = Ending { token, input: &whole, next: Some(payment) };
        token = self.both((&sql.acknowledge_order, params), ending, output).await?;

        let key = format!("{run}.{payment}");
        self.client.query_one(&sql.intend_payment, &[&id, &key, &"card"]).await?;
        let (charge, body) =
            (format!("ch_{id}"), format!("Your payment for order {id} has arrived."));
        self.client.query_one(&sql.capture_payment, &[&id, &charge, &body]).await?;
        let input = json!({"order_id": id, "payment": order.get("payment")});
        let output = json!({"charge_id": charge, "amount_minor": 4_998, "currency": "EUR"});
        let ending = Ending { token, input: &input, next: Some(booking) };
        token = step(&self.client, &sql.step, (ending, &output, self.holder)).await?;

        let body = format!("All articles of your order {id} are set aside.");
        let output = |row: &Row| json!({"pieces": row.get::<_, i64>("pieces")});
        let ending = Ending { token, input: &short, next: Some(delivery) };
        token = self.both((&sql.book_stock, &[&id, &body]), ending, output).await?;

        let key = format!("{run}.{delivery}");
        self.client.query_one(&sql.intend_delivery, &[&id, &key]).await?;
        let (tracking, body) =
            (format!("tr_{id}"), format!("The delivery of your order {id} is scheduled."));
        self.client.query_one(&sql.confirm_delivery, &[&id, &tracking, &DAY, &body]).await?;
        let output = json!({"tracking_number": tracking, "delivery_date": DAY});
        let ending = Ending { token, input: &short, next: Some(notification) };
        token = step(&self.client, &sql.step, (ending, &output, self.holder)).await?;

        let body = format!("Your order {id} is complete and on its way.");
        let output = |_: &Row| json!({"status": "COMPLETED"});
        let ending = Ending { token, input: &short, next: None };
        self.both((&sql.complete_order, &[&id, &body]), ending, output).await?;
        Ok(())
    }

    async fn start(&self, run: Uuid, order: &Value, first: &str) -> Result<i64, Failure> {
        let (ids, inputs, holder) = (vec![run], vec![order], Some(self.holder));
        let params: &Params<'_> = &[&ids, &inputs, &"order_fulfilment", &first, &holder];
        Ok(self.client.query_one(&self.statements.start, params).await?.get(0))
    }

    /// A task's statement and the end of its step, in one transaction.
    async fn both(
        &mut self,
        (statement, params): (&Statement, &Params<'_>),
        ending: Ending<'_>,
        output: impl Fn(&Row) -> Value,
    ) -> Result<i64, Failure> {
        let tx = self.client.transaction().await?;
        let row = tx.query_one(statement, params).await?;
        let output = output(&row);
        let end = (ending, &output, self.holder);
        let next = step(tx.client(), &self.statements.step, end).await?;
        tx.commit().await?;
        Ok(next)
    }
}

/// Ends a step; gives the token of the next, 0 where there is none.
async fn step(
    client: &Client,
    statement: &Statement,
    (ending, output, holder): (Ending<'_>, &Value, i64),
) -> Result<i64, Failure> {
    let (tokens, inputs) = (vec![ending.token], vec![Json(ending.input)]);
    let (outputs, nexts) = (vec![Json(output)], vec![ending.next]);
    let params: &Params<'_> = &[&tokens, &inputs, &outputs, &nexts, &holder, &"", &0_i64];
    let rows = client.query(statement, params).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
