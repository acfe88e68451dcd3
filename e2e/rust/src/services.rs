//! What the five tasks do: the statements of `oms-tasks`, each a transaction, and the sandbox.

use std::sync::Arc;

use conductor::models::Task;
use conductor::worker::WorkerOutput;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::Failure;

pub const TASKS: [&str; 5] = [
    "order_acknowledgement",
    "payment_processing",
    "stock_booking",
    "delivery_scheduling",
    "notification",
];

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../oms-tasks/src/sql/", $name, ".sql"))
    };
}

type Params<'a> = [&'a (dyn ToSql + Sync)];

#[derive(Clone)]
pub struct Services {
    client: Arc<Client>,
    sandbox: String,
}

/// Why an attempt failed.
enum Refused {
    ForGood(String),
    ForNow(Failure),
}

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::ForNow(error.into())
    }
}

fn for_good(text: impl Into<String>) -> Refused {
    Refused::ForGood(text.into())
}

impl Services {
    pub async fn connect() -> Result<Self, Failure> {
        let (client, connection) =
            tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self { client: Arc::new(client), sandbox: std::env::var("SANDBOX")? })
    }

    pub async fn run(&self, name: &str, task: &Task) -> WorkerOutput {
        let done = match name {
            "order_acknowledgement" => self.acknowledge(task).await,
            "payment_processing" => self.pay(task).await,
            "stock_booking" => self.book(task).await,
            "delivery_scheduling" => self.schedule(task).await,
            _ => self.complete(task).await,
        };
        match done {
            Ok(Value::Object(output)) => WorkerOutput::completed(output.into_iter().collect()),
            Ok(other) => WorkerOutput::completed_with_result(other),
            Err(Refused::ForGood(text)) => WorkerOutput::FailedWithTerminalError(text),
            Err(Refused::ForNow(error)) => WorkerOutput::failed(error.to_string()),
        }
    }

    async fn one(&self, sql: &str, params: &Params<'_>) -> Result<Row, Refused> {
        let row = self.client.query_opt(sql, params).await?;
        row.ok_or_else(|| for_good("the order does not exist"))
    }

    async fn acknowledge(&self, task: &Task) -> Result<Value, Refused> {
        let order = &task.input_data["order"];
        let id = text(order, "order_id")?;
        let workflow = Uuid::parse_str(&task.workflow_instance_id)?;
        let lines = order["lines"].as_array().ok_or_else(|| for_good("no lines"))?;
        let skus: Vec<&str> = lines.iter().filter_map(|line| line["sku"].as_str()).collect();
        let quantities: Vec<i32> =
            lines.iter().filter_map(|line| line["quantity"].as_i64()).map(|n| n as i32).collect();
        let (name, email) = (text(&order["customer"], "name")?, text(&order["customer"], "email")?);
        let body = format!("We have received your order {id}.");
        let currency = text(order, "currency")?;
        let (numbers, places): (Vec<i32>, Vec<i32>) = (1..).take(skus.len()).map(|n| (1, n)).unzip();
        // The statements are for many orders.
        let any_day: Vec<Option<chrono::NaiveDate>> = vec![None];
        let params: [&(dyn ToSql + Sync); 13] = [
            &vec![id],
            &vec![workflow],
            &vec![name],
            &vec![email],
            &vec![&order["ship_to"]],
            &vec![currency],
            &vec![body],
            &numbers,
            &places,
            &skus,
            &quantities,
            &any_day,
            &any_day,
        ];
        let row = self.one(sql!("acknowledge_orders"), &params).await?;
        let row =
            if row.get("written") { row } else { self.one(sql!("find_orders"), &[&vec![id]]).await? };
        if let Ok(owner) = row.try_get::<_, Uuid>("workflow_id")
            && owner != workflow
        {
            return Err(for_good(format!("order {id} belongs to workflow {owner}")));
        }
        Ok(
            json!({"order_id": id, "total_minor": row.get::<_, i64>("total_minor"), "currency": currency}),
        )
    }

    async fn pay(&self, task: &Task) -> Result<Value, Refused> {
        let id = input(task, "order_id")?;
        let payment = &task.input_data["payment"];
        let (method, token) = (text(payment, "method")?, text(payment, "token")?);
        let row = self.one(sql!("intend_payment"), &[&id, &key(task), &method]).await?;
        let (amount, currency): (i64, &str) = (row.get("amount_minor"), row.get("currency"));
        let charge: String = match row.get("status") {
            "CAPTURED" => row.get("charge_id"),
            "PENDING" => {
                let request = json!({
                    "op": "charge", "key": row.get::<_, &str>("idempotency_key"), "order_id": id,
                    "amount_minor": amount, "currency": currency, "method": method, "token": token,
                });
                let answer = self.ask(&request).await?;
                if answer["answer"] == "declined" {
                    let code = text(&answer, "code")?;
                    self.client.execute(sql!("decline_payment"), &[&id, &code]).await?;
                    return Err(for_good(format!("declined: {code}")));
                }
                let charge = text(&answer, "charge_id")?.to_owned();
                let body = format!("Your payment for order {id} has arrived.");
                self.one(sql!("capture_payment"), &[&id, &charge, &body]).await?;
                charge
            }
            other => return Err(for_good(format!("the payment is {other}"))),
        };
        Ok(json!({"charge_id": charge, "amount_minor": amount, "currency": currency}))
    }

    async fn book(&self, task: &Task) -> Result<Value, Refused> {
        let id = input(task, "order_id")?;
        let body = format!("All articles of your order {id} are set aside.");
        let row = self.one(sql!("book_stock"), &[&vec![id], &vec![body]]).await?;
        let short: Vec<String> = row.get("short");
        if !short.is_empty() {
            return Err(for_good(format!("out of stock: {}", short.join(", "))));
        }
        Ok(json!({"pieces": row.get::<_, i64>("pieces")}))
    }

    async fn schedule(&self, task: &Task) -> Result<Value, Refused> {
        let id = input(task, "order_id")?;
        // From the main warehouse alone, so there is one.
        let row = self.one(sql!("intend_deliveries"), &[&id, &key(task)]).await?;
        if row.get::<_, &str>("status") == "SCHEDULED" {
            let date: chrono::NaiveDate = row.get("delivery_date");
            let tracking: &str = row.get("tracking_number");
            return Ok(json!({"tracking_number": tracking, "delivery_date": date.to_string()}));
        }
        let request = json!({
            "op": "book", "key": row.get::<_, &str>("idempotency_key"), "order_id": id,
            "recipient": row.get::<_, &str>("customer_name"), "ship_to": row.get::<_, Value>("ship_to"),
            "pieces": row.get::<_, i64>("pieces"),
        });
        let answer = self.ask(&request).await?;
        let (tracking, date) = (text(&answer, "tracking_number")?, text(&answer, "delivery_date")?);
        let day: chrono::NaiveDate = date.parse()?;
        let body = format!("The delivery of your order {id} is scheduled.");
        let warehouses: Vec<&str> = vec![row.get("warehouse")];
        self.one(sql!("confirm_deliveries"), &[&id, &warehouses, &vec![tracking], &vec![day], &body]).await?;
        Ok(json!({"tracking_number": tracking, "delivery_date": date}))
    }

    async fn complete(&self, task: &Task) -> Result<Value, Refused> {
        let id = input(task, "order_id")?;
        let body = format!("Your order {id} is complete and on its way.");
        self.one(sql!("complete_orders"), &[&vec![id], &vec![body], &"COMPLETED"]).await?;
        Ok(json!({"status": "COMPLETED"}))
    }

    async fn ask(&self, request: &Value) -> Result<Value, Refused> {
        let mut stream = BufReader::new(TcpStream::connect(&self.sandbox).await?);
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let mut answer: Value = serde_json::from_str(&line)?;
        match answer.get_mut("Ok") {
            Some(done) => Ok(done.take()),
            None => Err(Refused::ForNow(line.into())),
        }
    }
}

/// Names the step, not the attempt.
fn key(task: &Task) -> String {
    format!("{}:{}", task.workflow_instance_id, task.reference_task_name)
}

fn input<'a>(task: &'a Task, name: &str) -> Result<&'a str, Refused> {
    let value = task.input_data.get(name).and_then(Value::as_str);
    value.ok_or_else(|| for_good(format!("the input has no {name}")))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refused> {
    value[name].as_str().ok_or_else(|| for_good(format!("no {name} in {value}")))
}
