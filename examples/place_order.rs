//! Takes an order through all five tasks on a real PostgreSQL and shows what the tables say.
//!
//! `cargo run --example place_order -- --help` tells the options. Payment and delivery go to the
//! sandbox; nothing real is charged.

#![expect(clippy::print_stdout, reason = "shows what happens")]

#[path = "place_order/cluster.rs"]
mod cluster;
#[path = "shop/mod.rs"]
mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use oms_engine::{Engine, Execution, StartRequest, WorkflowId};
use oms_tasks::notifiers::MemoryNotifier;
use oms_tasks::sandbox::{Sandbox, serve};
use oms_tasks::sender::{Sender, SenderOptions};
use oms_tasks::{OrderSummary, order_summary};
use serde_json::{Map, Value, json};
use shop::{Failure, Shop};
use tokio_util::sync::CancellationToken;

/// How often the tables are looked at while an order is on its way.
const LOOK: Duration = Duration::from_millis(10);
/// While many are: counting them is work for the server too.
const LOOK_AT_MANY: Duration = Duration::from_millis(250);

/// Articles of many orders.
const ARTICLES: u32 = 100;

/// Places an order and follows it.
#[derive(Parser)]
struct Options {
    /// The article; by default a lamp, and for many orders one of many articles, since all orders
    /// for one article wait for each other at its shelf. `sold-out` is never on the shelf.
    #[arg(long)]
    sku: Option<String>,
    /// Pieces of it.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=1000))]
    quantity: i32,
    /// The customer's card: `visa`, `declined`, `timeout`, `timeout_after_charge`, `fail_once`,
    /// `slow`.
    #[arg(long, default_value = "visa")]
    card: String,
    /// Which `order_fulfilment` takes the order: `v1` goes through five tasks in a row; `v2` authorises the
    /// payment and reserves the stock side by side, waits for what is short, and undoes by itself.
    #[arg(long, default_value = "v1", value_parser = ["v1", "v2"])]
    fulfilment: String,
    /// Places so many orders at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    orders: u32,
    /// Has a Conductor server at this address run the order, with the tasks in this program; version 1
    /// alone.
    #[arg(long, value_name = "URL", conflicts_with_all = ["fulfilment", "orders"])]
    conductor: Option<String>,
    /// The key to come with there; its secret is in `CONDUCTOR_AUTH_SECRET`.
    #[arg(long, env = "CONDUCTOR_AUTH_KEY", value_name = "ID")]
    conductor_key: Option<String>,
    /// Prints one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What the n-th order is for.
    fn article(&self, n: u32) -> String {
        match &self.sku {
            Some(sku) => sku.clone(),
            None if self.orders == 1 => "lamp".to_owned(),
            None => format!("lamp-{}", n % ARTICLES),
        }
    }

    /// All articles, with the number of orders for each.
    fn articles(&self) -> BTreeMap<String, i64> {
        let mut articles = BTreeMap::new();
        for n in 0..self.orders {
            *articles.entry(self.article(n)).or_default() += 1;
        }
        articles
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let begun = Instant::now();
    match run(&Options::parse(), begun).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(&format!("error: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "errors and progress of a program")]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

async fn run(options: &Options, begun: Instant) -> Result<(), Failure> {
    let spinner = ProgressBar::new_spinner();
    let told = spinner.clone();
    let shop = Shop::open(move |text| {
        if std::io::stderr().is_terminal() {
            told.set_message(text.to_owned());
            told.tick();
        } else {
            eprint_line(text);
        }
    })
    .await?;
    spinner.finish_and_clear();
    let sandbox = sandbox(&shop).await?;
    if options.conductor.is_some() {
        let done = cluster::place(options, &shop, &sandbox, begun).await;
        sandbox.stop().await;
        return done;
    }
    let engine = shop::engine(shop.database.url(), shop.pool.clone(), sandbox.address()).await?;
    for (sku, orders) in options.articles() {
        shop.stock(&sku, i64::from(options.quantity) * orders).await?;
    }
    let sender = Sender::new(
        shop.pool.clone(),
        Arc::new(MemoryNotifier::default()),
        SenderOptions::default(),
    );
    let stop = CancellationToken::new();
    let sending = tokio::spawn({
        let (sender, stop) = (sender.clone(), stop.clone());
        async move { sender.run(stop).await }
    });
    let placed = Placed { options, shop: &shop, engine: &engine, sender: &sender, begun };
    let done = if options.orders == 1 { placed.one().await } else { placed.many().await };
    stop.cancel();
    sending.await?;
    engine.shutdown(Duration::from_secs(5)).await;
    sandbox.stop().await;
    done
}

/// The sandbox with a ledger that outlives this program, so that an order which an earlier one left
/// behind finds its charge. Where another program has that ledger, one of our own.
async fn sandbox(shop: &Shop) -> Result<Sandbox, Failure> {
    let temporary = std::env::temp_dir();
    let folder = shop.database.server().map_or(&*temporary, |server| server.folder());
    match serve(&folder.join("sandbox-ledger.jsonl"), 0).await {
        Ok(sandbox) => Ok(sandbox),
        Err(_) => {
            let own = format!("oms-sandbox-ledger-{}.jsonl", std::process::id());
            Ok(serve(&temporary.join(own), 0).await?)
        }
    }
}

/// What placing orders needs.
struct Placed<'a> {
    options: &'a Options,
    shop: &'a Shop,
    engine: &'a Engine,
    sender: &'a Sender,
    begun: Instant,
}

impl Placed<'_> {
    fn request(&self, order_id: &str, n: u32) -> StartRequest {
        let Options { quantity, card, .. } = self.options;
        let sku = self.options.article(n);
        StartRequest::new("order_fulfilment")
            .version(if self.options.fulfilment == "v2" { 2 } else { 1 })
            .input(shop::order(order_id, &sku, *quantity, card))
            .correlation_id(order_id)
            .idempotency_key(order_id)
    }

    async fn summary(&self, order_id: &str) -> Result<Option<OrderSummary>, Failure> {
        Ok(order_summary(&*self.shop.pool.get().await?, order_id).await?)
    }

    async fn one(&self) -> Result<(), Failure> {
        let order_id = format!("order-{}", WorkflowId::new());
        let id = self.engine.start(self.request(&order_id, 0)).await?.id;
        let stages = ProgressBar::new(5);
        if self.options.json || !std::io::stderr().is_terminal() {
            stages.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        stages.set_style(ProgressStyle::with_template("{bar:20} {pos}/5 {msg}")?);
        self.say(&format!("{order_id} placed as workflow {id}"));
        let run = self.follow(&order_id, id, &stages).await?;
        stages.finish_and_clear();
        while self.sender.send_pending().await? > 0 {}
        let elapsed = self.begun.elapsed();
        let summary = self.summary(&order_id).await?;
        if self.options.json {
            let report = report(&order_id, &Ended::from(&run), summary.as_ref(), elapsed);
            println!("{}", Value::Object(report));
        } else {
            show(&order_id, &Ended::from(&run), summary.as_ref());
            println!("\nfrom start to end: {} ms", elapsed.as_millis());
        }
        Ok(())
    }

    /// Tells each stage as the tables have it, until the order is at its end: the unwinding of a
    /// failed one included.
    async fn follow(
        &self,
        order_id: &str,
        id: WorkflowId,
        stages: &ProgressBar,
    ) -> Result<Execution, Failure> {
        let mut told = BTreeSet::new();
        let whole = async {
            let run = self.engine.wait(id).await?;
            if let Some(unwinding) = run.failure_workflow_id {
                self.engine.wait(unwinding).await?;
            }
            Ok::<_, Failure>(run)
        };
        tokio::pin!(whole);
        loop {
            let done = tokio::select! {
                run = &mut whole => Some(run?),
                () = tokio::time::sleep(LOOK) => None,
            };
            if !self.options.json {
                for note in self.summary(order_id).await?.iter().flat_map(|s| &s.notifications) {
                    if told.insert(note.stage.clone()) {
                        let ms = self.begun.elapsed().as_millis();
                        let line = format!("{ms:>6} ms  {:<13} {}", note.stage, note.body);
                        stages.suspend(|| self.say(&line));
                        stages.set_message(note.stage.clone());
                        stages.inc(1);
                    }
                }
            }
            if let Some(run) = done {
                return Ok(run);
            }
        }
    }

    fn say(&self, text: &str) {
        if !self.options.json {
            println!("{text}");
        }
    }

    async fn many(&self) -> Result<(), Failure> {
        let batch = WorkflowId::new();
        let ids: Vec<String> =
            (0..self.options.orders).map(|n| format!("order-{batch}-{n}")).collect();
        let bar = ProgressBar::new(u64::from(self.options.orders));
        let style = "{bar:40} {pos}/{len} orders  {per_sec}  {elapsed}";
        bar.set_style(ProgressStyle::with_template(style)?);
        let requests = (0..).zip(&ids).map(|(n, id)| self.request(id, n)).collect();
        let placed = Instant::now();
        let started = self.engine.start_many(requests).await?;
        let counts = loop {
            let counts = self.count(&ids).await?;
            let ended = counts.iter().filter(|(status, _)| is_end(status)).map(|(_, n)| n).sum();
            bar.set_position(ended);
            if ended >= u64::from(self.options.orders) {
                break counts;
            }
            tokio::time::sleep(LOOK_AT_MANY).await;
        };
        let took = placed.elapsed();
        bar.finish_and_clear();
        let rate = f64::from(self.options.orders) / took.as_secs_f64();
        while self.sender.send_pending().await? > 0 {}
        let (Some(first), Some(order_id)) = (started.first(), ids.first()) else { return Ok(()) };
        if self.options.json {
            let run = self.engine.wait(first.id).await?;
            let summary = self.summary(order_id).await?;
            let run = Ended::from(&run);
            let mut report = report(order_id, &run, summary.as_ref(), self.begun.elapsed());
            report.insert("orders".to_owned(), json!(self.options.orders));
            report.insert("orders_per_second".to_owned(), json!(rate));
            report.insert("counts".to_owned(), json!(counts));
            println!("{}", Value::Object(report));
        } else {
            println!(
                "{} orders in {:.2} s: {rate:.0} orders per second",
                ids.len(),
                took.as_secs_f64()
            );
            for (status, n) in &counts {
                println!("  {status:<10} {n}");
            }
        }
        Ok(())
    }

    async fn count(&self, ids: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
        let sql = "SELECT status, count(*) FROM orders WHERE order_id = ANY ($1) GROUP BY status";
        let rows = self.shop.pool.get().await?.query(sql, &[&ids]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, u64::try_from(row.try_get::<_, i64>(1)?)?)))
            .collect()
    }
}

fn is_end(status: &str) -> bool {
    matches!(status, "COMPLETED" | "FAILED")
}

/// How a run ended.
struct Ended {
    id: String,
    status: String,
    reason: Option<String>,
}

impl From<&Execution> for Ended {
    fn from(run: &Execution) -> Self {
        let (id, status) = (run.workflow_id.to_string(), run.status.to_string());
        Self { id, status, reason: run.reason_for_incompletion.clone() }
    }
}

fn report(
    order_id: &str,
    run: &Ended,
    summary: Option<&OrderSummary>,
    elapsed: Duration,
) -> Map<String, Value> {
    let notifications = summary.map(|s| &s.notifications);
    let report = [
        ("order_id", json!(order_id)),
        ("workflow_id", json!(run.id)),
        ("status", json!(run.status)),
        ("reason", json!(run.reason)),
        ("order_status", json!(summary.map(|s| &s.status))),
        (
            "tracking_number",
            json!(summary.and_then(|s| s.deliveries.first()?.tracking_number.clone())),
        ),
        ("notifications", json!(notifications)),
        ("elapsed_ms", json!(elapsed.as_millis())),
    ];
    report.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn money(minor: i64) -> String {
    format!("{}.{:02} EUR", minor / 100, minor % 100)
}

/// The order as the tables have it.
fn show(order_id: &str, run: &Ended, summary: Option<&OrderSummary>) {
    println!("\nworkflow {}: {}", run.id, run.status);
    if let Some(reason) = &run.reason {
        println!("  {reason}");
    }
    let Some(order) = summary else {
        println!("order {order_id}: nothing was written for it");
        return;
    };
    println!("order {order_id}: {}", order.status);
    if let Some(reason) = &order.failure_reason {
        println!("  failed: {reason}");
    }
    if let (Some(at), Some(total)) = (order.acknowledged_at, order.total_minor) {
        println!("  acknowledged {}  total {}", at.format("%T%.3f"), money(total));
    }
    if let Some(payment) = &order.authorisation {
        let at = payment.captured_at.or(payment.authorised_at).map(|at| at.format("%T%.3f"));
        println!(
            "  payment      {}  {} {}",
            at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            payment.status,
            payment.payment_id.as_deref().or(payment.decline_code.as_deref()).unwrap_or("")
        );
        if payment.refunded_minor > 0 {
            println!("  given back   {}", money(payment.refunded_minor));
        }
    }
    if let Some(reservation) = &order.reservation {
        let at = reservation.ended_at.or(reservation.reserved_at).unwrap_or(reservation.created_at);
        println!("  reservation  {}  {}", at.format("%T%.3f"), reservation.status);
    }
    if let Some(payment) = &order.payment {
        let at = payment.captured_at.map(|at| at.format("%T%.3f").to_string());
        println!(
            "  payment      {}  {} {}",
            at.as_deref().unwrap_or("-"),
            payment.status,
            payment.charge_id.as_deref().or(payment.decline_code.as_deref()).unwrap_or("")
        );
        if let Some(at) = payment.refunded_at {
            println!("  given back   {}  {}", at.format("%T%.3f"), money(payment.refunded_minor));
        }
    }
    for booking in &order.bookings {
        let at = booking.released_at.unwrap_or(booking.booked_at).format("%T%.3f");
        println!("  booking      {at}  {} {} x {}", booking.status, booking.quantity, booking.sku);
    }
    for delivery in &order.deliveries {
        let at = delivery.scheduled_at.map(|at| at.format("%T%.3f").to_string());
        println!(
            "  delivery     {}  {} {}",
            at.as_deref().unwrap_or("-"),
            delivery.status,
            delivery.tracking_number.as_deref().unwrap_or("")
        );
    }
    for note in &order.notifications {
        let at = note.sent_at.map(|at| at.format("%T%.3f").to_string());
        println!("  notified     {}  {}", at.as_deref().unwrap_or("pending"), note.stage);
    }
}
