//! The five order tasks in bare SQL: the statements of the tasks themselves, for so many orders at once
//! as they are given, each with the ends of its steps in one transaction where the task is transactional.

use std::collections::HashMap;
use std::sync::Arc;

use oms_engine::WorkflowId;
use oms_engine::chrono::NaiveDate;
use oms_engine::tokio_postgres::types::ToSql;
use oms_engine::tokio_postgres::{Client, Row, Statement};
use oms_tasks::MAIN_WAREHOUSE;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Shape;
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
    acknowledge_orders,
    intend_payment,
    capture_payment,
    book_stock,
    intend_deliveries,
    confirm_deliveries,
    complete_orders
);

/// Takes so many orders through, a batch at a time on each connection.
pub(crate) async fn work(url: &str, orders: usize, shape: Shape) -> Result<(), Failure> {
    let Shape { connections, batch } = shape;
    let mut at_work = JoinSet::new();
    for number in 0..connections {
        let mut shop = Shop::open(url, i64::try_from(number + 1)?).await?;
        let own: Vec<usize> = (number..orders).step_by(connections).collect();
        at_work.spawn(async move {
            for batch in own.chunks(batch) {
                shop.fulfil(batch).await?;
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

/// Orders that go through together.
struct Batch {
    ids: Vec<String>,
    runs: Vec<Uuid>,
    orders: Vec<Value>,
    /// The open token of each.
    tokens: Vec<i64>,
}

/// Steps that end, and what follows.
struct Ending {
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    next: Option<&'static str>,
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

impl Batch {
    fn of(numbers: &[usize]) -> Self {
        Self {
            ids: numbers.iter().map(|n| order_id(*n)).collect(),
            runs: numbers.iter().map(|_| WorkflowId::new().as_uuid()).collect(),
            orders: numbers.iter().map(|n| order(*n)).collect(),
            tokens: Vec::new(),
        }
    }

    fn texts(&self, path: &str) -> Vec<&str> {
        let text = |order| Value::pointer(order, path).and_then(Value::as_str).unwrap_or_default();
        self.orders.iter().map(text).collect()
    }

    fn bodies(&self, body: impl Fn(&str) -> String) -> Vec<String> {
        self.ids.iter().map(|id| body(id)).collect()
    }

    fn each(&self, value: impl Fn(&str, &Value) -> Value) -> Vec<Value> {
        self.ids.iter().zip(&self.orders).map(|(id, order)| value(id, order)).collect()
    }

    /// Takes the tokens of what follows.
    fn opened(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let tokens: HashMap<Uuid, i64> = rows.iter().map(|row| (row.get(1), row.get(0))).collect();
        let of = |run| tokens.get(run).copied().ok_or("a run without a token");
        self.tokens = self.runs.iter().map(of).collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl Shop {
    async fn open(url: &str, holder: i64) -> Result<Self, Failure> {
        let client = connect(url).await?;
        client.batch_execute(&oms_engine::testkit::planner()).await?;
        let statements = Arc::new(Statements::prepare(&client).await?);
        Ok(Self { client, statements, holder })
    }

    async fn fulfil(&mut self, numbers: &[usize]) -> Result<(), Failure> {
        let mut batch = Batch::of(numbers);
        let [acknowledgement, ..] = TASKS;
        self.start(&mut batch, acknowledgement).await?;
        self.acknowledge(&mut batch).await?;
        self.pay(&mut batch).await?;
        self.book(&mut batch).await?;
        self.deliver(&mut batch).await?;
        self.complete(&mut batch).await
    }

    async fn start(&self, batch: &mut Batch, first: &str) -> Result<(), Failure> {
        let holder = Some(self.holder);
        let params: &Params<'_> =
            &[&batch.runs, &batch.orders, &"order_fulfilment", &first, &holder];
        let rows = self.client.query(&self.statements.start, params).await?;
        batch.opened(&rows)
    }

    async fn acknowledge(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let [_, payment, ..] = TASKS;
        let n = batch.ids.len();
        let numbers: Vec<i32> = (1..).take(n).collect();
        let (lines, pieces, currencies) = (vec![1_i32; n], vec![2_i32; n], vec!["EUR"; n]);
        let ship_to: Vec<_> = batch.orders.iter().map(|order| order.get("ship_to")).collect();
        let (names, emails) = (batch.texts("/customer/name"), batch.texts("/customer/email"));
        let skus = batch.texts("/lines/0/sku");
        let bodies = batch.bodies(|id| format!("We have received your order {id}."));
        let any_day: Vec<Option<NaiveDate>> = vec![None; n];
        let params: &Params<'_> = &[
            &batch.ids,
            &batch.runs,
            &names,
            &emails,
            &ship_to,
            &currencies,
            &bodies,
            &numbers,
            &lines,
            &skus,
            &pieces,
            &any_day,
            &any_day,
        ];
        let output = |id: &str, row: &Row| {
            let total: Option<i64> = row.get("total_minor");
            json!({"order_id": id, "total_minor": total, "currency": "EUR"})
        };
        let inputs = batch.each(|_, order| json!({"order": order}));
        let sql = self.statements.clone();
        let rows = self.both((&sql.acknowledge_orders, params), batch, |rows| Ending {
            inputs,
            outputs: batch.ids.iter().zip(rows).map(|(id, row)| output(id, row)).collect(),
            next: Some(payment),
        });
        let rows = rows.await?;
        batch.opened(&rows)
    }

    /// The gateway is asked for each: two statements of one order's.
    async fn pay(&self, batch: &mut Batch) -> Result<(), Failure> {
        let [_, payment, booking, ..] = TASKS;
        for (id, run) in batch.ids.iter().zip(&batch.runs) {
            let key = format!("{run}.{payment}");
            self.client.query_one(&self.statements.intend_payment, &[id, &key, &"card"]).await?;
            let charge = format!("ch_{id}");
            let body = format!("Your payment for order {id} has arrived.");
            self.client.query_one(&self.statements.capture_payment, &[id, &charge, &body]).await?;
        }
        let ending = Ending {
            inputs: batch.each(|id, order| json!({"order_id": id, "payment": order["payment"]})),
            outputs: batch.each(|id, _| {
                json!({"charge_id": format!("ch_{id}"), "amount_minor": 4_998, "currency": "EUR"})
            }),
            next: Some(booking),
        };
        let rows = self.step(&self.client, batch, &ending).await?;
        batch.opened(&rows)
    }

    async fn book(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let [_, _, _, delivery, _] = TASKS;
        let bodies = batch.bodies(|id| format!("All articles of your order {id} are set aside."));
        let sql = self.statements.clone();
        let params: &Params<'_> = &[&batch.ids, &bodies];
        let inputs = batch.each(|id, _| json!({"order_id": id}));
        let rows = self.both((&sql.book_stock, params), batch, |rows| {
            let pieces: HashMap<&str, i64> =
                rows.iter().map(|row| (row.get("order_id"), row.get("pieces"))).collect();
            let outputs = batch.each(|id, _| json!({"pieces": pieces.get(id)}));
            Ending { inputs, outputs, next: Some(delivery) }
        });
        let rows = rows.await?;
        batch.opened(&rows)
    }

    async fn deliver(&self, batch: &mut Batch) -> Result<(), Failure> {
        let [_, _, _, delivery, notification] = TASKS;
        let from = [MAIN_WAREHOUSE];
        for (id, run) in batch.ids.iter().zip(&batch.runs) {
            let key = format!("{run}.{delivery}");
            self.client.query_one(&self.statements.intend_deliveries, &[id, &key]).await?;
            let (tracking, days) = ([format!("tr_{id}")], [DAY]);
            let body = format!("The delivery of your order {id} is scheduled.");
            let params: &Params<'_> =
                &[id, &from.as_slice(), &tracking.as_slice(), &days.as_slice(), &body];
            self.client.query_one(&self.statements.confirm_deliveries, params).await?;
        }
        let promised = |id: &str| {
            let tracking = format!("tr_{id}");
            let delivery = json!({"warehouse": MAIN_WAREHOUSE, "tracking_number": tracking, "delivery_date": DAY});
            json!({"tracking_number": tracking, "delivery_date": DAY, "deliveries": [delivery]})
        };
        let ending = Ending {
            inputs: batch.each(|id, _| json!({"order_id": id})),
            outputs: batch.each(|id, _| promised(id)),
            next: Some(notification),
        };
        let rows = self.step(&self.client, batch, &ending).await?;
        batch.opened(&rows)
    }

    async fn complete(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let bodies = batch.bodies(|id| format!("Your order {id} is complete and on its way."));
        let sql = self.statements.clone();
        let params: &Params<'_> = &[&batch.ids, &bodies, &"COMPLETED"];
        let inputs = batch.each(|id, _| json!({"order_id": id}));
        let outputs = batch.each(|_, _| json!({"status": "COMPLETED"}));
        let ending = |_: &[Row]| Ending { inputs, outputs, next: None };
        self.both((&sql.complete_orders, params), batch, ending).await?;
        Ok(())
    }

    /// A task's statement and the ends of its steps, in one transaction.
    async fn both(
        &mut self,
        (statement, params): (&Statement, &Params<'_>),
        batch: &Batch,
        ending: impl FnOnce(&[Row]) -> Ending,
    ) -> Result<Vec<Row>, Failure> {
        let step = self.statements.step.clone();
        let holder = self.holder;
        let tx = self.client.transaction().await?;
        let rows = tx.query(statement, params).await?;
        let opened = end_steps(tx.client(), &step, (batch, &ending(&rows), holder)).await?;
        tx.commit().await?;
        Ok(opened)
    }

    async fn step(
        &self,
        client: &Client,
        batch: &Batch,
        ending: &Ending,
    ) -> Result<Vec<Row>, Failure> {
        end_steps(client, &self.statements.step, (batch, ending, self.holder)).await
    }
}

/// Ends steps; gives the tokens of the next ones.
async fn end_steps(
    client: &Client,
    statement: &Statement,
    (batch, ending, holder): (&Batch, &Ending, i64),
) -> Result<Vec<Row>, Failure> {
    let nexts = vec![ending.next; batch.ids.len()];
    let params: &Params<'_> =
        &[&batch.tokens, &ending.inputs, &ending.outputs, &nexts, &holder, &"", &0_i64];
    Ok(client.query(statement, params).await?)
}
