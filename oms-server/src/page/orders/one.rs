//! One order, with all that was done for it.

use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::{FoundWorkflow, TextQuery, WorkflowSearch};
use oms_tasks::{DeliverySummary, OrderEvent, OrderSummary};

use super::super::Answer;
use super::super::entry::Visit;
use super::super::fact::{Fact, fact};
use super::super::frame::{Frame, html};
use super::super::look::{Look, state};
use super::super::text::{exact, moment, now, segment, short, span};
use super::desk;
use super::veil::Veil;
use crate::mask::hide;
use crate::refusal::Refusal;

/// Runs of an order that are listed.
const RUNS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "page/order.html")]
struct OrderPage {
    frame: Frame,
    id: String,
    /// Markup.
    state: String,
    reason: String,
    facts: Vec<Fact>,
    parts: Vec<Part>,
    history: Vec<Event>,
    items: Vec<Item>,
    notifications: Vec<Note>,
    runs: Vec<Run>,
    /// Runs of it that may still change.
    watched: String,
    json: String,
}

/// What was done for it in one respect.
struct Part {
    title: &'static str,
    /// Markup.
    state: String,
    facts: Vec<Fact>,
    lines: Lines,
}

/// What came of something bit by bit: a state as markup, and what is to be said of it.
type Lines = Vec<(String, String)>;

struct Event {
    /// Markup.
    state: String,
    time: String,
    exact: String,
    /// Since the event before.
    after: String,
}

struct Item {
    line: i32,
    sku: String,
    quantity: i32,
    price: String,
    sum: String,
}

struct Note {
    /// Markup.
    stage: String,
    state: String,
    to: String,
    body: String,
    time: String,
    exact: String,
}

struct Run {
    look: Look,
    name: String,
    id: String,
    link: String,
    started: String,
    started_exact: String,
    took: String,
}

/// An order as it is shown.
struct Seen<'a> {
    visit: &'a Visit,
    veil: Veil,
    order: &'a OrderSummary,
}

async fn found(visit: &Visit) -> Result<OrderSummary, Refusal> {
    let id = visit.asked.name(0);
    let none = || Refusal::not_found(format!("there is no order {}", short(id, 100)));
    desk(visit)?.status(id).await?.ok_or_else(none)
}

pub(in super::super) async fn one(visit: Visit) -> Answer {
    let order = found(&visit).await?;
    let mut search = WorkflowSearch::default();
    search.correlation_id = Some(TextQuery::OneOf(vec![order.order_id.clone()]));
    search.size = RUNS_MAX;
    let runs = visit.app.engine.search(&search).await?.results;
    let live = runs.iter().filter(|run| !run.summary.status.is_terminal());
    let watched: Vec<String> = live.map(|run| run.summary.workflow_id.to_string()).collect();
    let seen = Seen { visit: &visit, veil: Veil::of(&visit.app.masked), order: &order };
    html(&OrderPage {
        frame: Frame::of(&visit, "orders"),
        id: seen.veil.text("order_id", order.order_id.as_str()),
        state: state(&order.status),
        reason: seen.veil.text("failure_reason", order.failure_reason.as_deref()),
        facts: seen.facts(),
        parts: seen.parts(),
        history: events(&order.history),
        items: seen.items(),
        notifications: seen.notifications(),
        runs: runs.into_iter().map(|found| run(&visit, found)).collect(),
        watched: watched.join(","),
        json: visit.link(&format!("/orders/{}/json", segment(&order.order_id)), &[]),
    })
}

/// The order as `oms_tasks` gives it.
pub(in super::super) async fn json(visit: Visit) -> Answer {
    let order = found(&visit).await?;
    let unwritten = |error| Refusal::busy(format!("it cannot be written: {error}"));
    let mut order = serde_json::to_value(order).map_err(unwritten)?;
    hide(&mut order, &Veil::of(&visit.app.masked).0);
    let kind = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, kind)], order.to_string()).into_response())
}

fn events(history: &[OrderEvent]) -> Vec<Event> {
    let mut before: Option<DateTime<Utc>> = None;
    let each = history.iter().map(|event| {
        let after = before.map(|before| span((event.at - before).num_milliseconds()));
        before = Some(event.at);
        Event {
            state: state(&event.what),
            time: moment(event.at),
            exact: exact(event.at),
            after: after.unwrap_or_default(),
        }
    });
    each.collect()
}

fn run(visit: &Visit, found: FoundWorkflow) -> Run {
    let run = found.summary;
    let until = run.end_time.unwrap_or_else(now);
    Run {
        look: Look::of_run(run.status),
        name: short(&run.workflow_type, 120),
        link: visit.link(&format!("/runs/{}", run.workflow_id), &[]),
        id: run.workflow_id.to_string(),
        started: moment(run.start_time),
        started_exact: exact(run.start_time),
        took: span((until - run.start_time).num_milliseconds()),
    }
}

impl Seen<'_> {
    fn text(&self, label: &'static str, name: &str, value: Option<&str>) -> Fact {
        fact(label, self.veil.text(name, value))
    }

    fn money(&self, label: &'static str, name: &str, minor: Option<i64>) -> Fact {
        fact(label, self.veil.money(name, minor, self.order.currency.as_deref()))
    }

    fn time(&self, label: &'static str, name: &str, time: Option<DateTime<Utc>>) -> Fact {
        let exact = time.filter(|_| !self.veil.hides(name)).map(exact);
        Fact { time: exact, ..fact(label, self.veil.time(name, time)) }
    }

    /// A part of which nothing is shown but that it is there.
    fn hidden(&self, title: &'static str, name: &str) -> Option<Part> {
        let facts = vec![fact(title, crate::mask::MASK.to_owned())];
        let hidden = Part { title, state: String::new(), facts, lines: Vec::new() };
        self.veil.hides(name).then_some(hidden)
    }

    fn facts(&self) -> Vec<Fact> {
        let order = self.order;
        let run = order.workflow_id.to_string();
        let link = Some(self.visit.link(&format!("/runs/{run}"), &[]));
        some(vec![
            self.text("Customer", "customer_name", order.customer_name.as_deref()),
            self.text("E-mail", "customer_email", order.customer_email.as_deref()),
            self.money("Total", "total_minor", order.total_minor),
            self.time("Acknowledged", "acknowledged_at", order.acknowledged_at),
            self.time("Completed", "completed_at", order.completed_at),
            self.time("Cancellation asked for", "cancelled_at", order.cancelled_at),
            self.time("Failed", "failed_at", order.failed_at),
            Fact { link, ..fact("Its run", run) },
        ])
    }

    fn parts(&self) -> Vec<Part> {
        let order = self.order;
        let mut parts: Vec<Part> = Vec::new();
        parts.extend(self.paid());
        parts.extend(self.authorised());
        parts.extend(self.stock());
        parts.extend(order.deliveries.iter().map(|delivery| self.delivery(delivery)));
        parts
    }

    fn paid(&self) -> Option<Part> {
        let payment = self.order.payment.as_ref()?;
        let facts = vec![
            self.money("Amount", "amount_minor", Some(payment.amount_minor)),
            self.text("Method", "method", Some(&payment.method)),
            self.text("Charge", "charge_id", payment.charge_id.as_deref()),
            self.time("Captured", "captured_at", payment.captured_at),
            self.text("Declined", "decline_code", payment.decline_code.as_deref()),
            self.money("Refunded", "refunded_minor", more_than_none(payment.refunded_minor)),
            self.text("Refund", "refund_id", payment.refund_id.as_deref()),
            self.time("Refunded at", "refunded_at", payment.refunded_at),
        ];
        Some(self.payment("payment", &payment.status, (facts, Vec::new())))
    }

    fn authorised(&self) -> Option<Part> {
        let payment = self.order.authorisation.as_ref()?;
        let refunds = self.order.refunds.iter().map(|refund| {
            let amount = self.money("", "amount_minor", Some(refund.amount_minor)).value;
            let told = [
                amount,
                self.veil.text("refund_id", refund.refund_id.as_deref()),
                self.veil.text("refusal_code", refund.refusal_code.as_deref()),
                moment(refund.ended_at.unwrap_or(refund.created_at)),
            ];
            let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
            (state(&refund.status), told.join(" · "))
        });
        let facts = vec![
            self.money("Amount", "amount_minor", Some(payment.amount_minor)),
            self.text("Method", "method", Some(&payment.method)),
            self.text("Payment intent", "payment_id", payment.payment_id.as_deref()),
            self.time("Authorised", "authorised_at", payment.authorised_at),
            self.text("Declined", "decline_code", payment.decline_code.as_deref()),
            self.money("Captured", "captured_minor", more_than_none(payment.captured_minor)),
            self.time("Captured at", "captured_at", payment.captured_at),
            self.money("Refunded", "refunded_minor", more_than_none(payment.refunded_minor)),
            self.time("Reversed", "reversed_at", payment.reversed_at),
        ];
        Some(self.payment("authorisation", &payment.status, (facts, refunds.collect())))
    }

    /// What is known of a payment, and what came of it bit by bit.
    fn payment(&self, name: &str, status: &str, (facts, lines): (Vec<Fact>, Lines)) -> Part {
        let (title, facts) = ("Payment", some(facts));
        let shown = || Part { title, state: state(status), facts, lines };
        self.hidden(title, name).unwrap_or_else(shown)
    }

    fn stock(&self) -> Option<Part> {
        let (reservation, bookings) = (self.order.reservation.as_ref(), &self.order.bookings);
        if reservation.is_none() && bookings.is_empty() {
            return None;
        }
        let pieces = reservation.map(|one| &*one.pieces).unwrap_or_default();
        let reserved = pieces.iter().map(|one| {
            let sku = self.veil.text("sku", one.sku.as_str());
            let from = self.veil.text("warehouse", one.warehouse.as_str());
            (String::new(), format!("{} × {sku} · from {from}", one.quantity))
        });
        let booked = bookings.iter().map(|one| {
            let sku = self.veil.text("sku", one.sku.as_str());
            (state(&one.status), format!("{} × {sku} · {}", one.quantity, moment(one.booked_at)))
        });
        let facts = reservation.map(|one| {
            some(vec![
                self.time("Asked for", "created_at", Some(one.created_at)),
                self.time("Set aside", "reserved_at", one.reserved_at),
                self.time("Until", "expires_at", one.expires_at),
                self.time("Ended", "ended_at", one.ended_at),
            ])
        });
        Some(Part {
            title: if reservation.is_some() { "Reservation" } else { "Booking" },
            state: reservation.map(|one| state(&one.status)).unwrap_or_default(),
            facts: facts.unwrap_or_default(),
            lines: reserved.chain(booked).collect(),
        })
    }

    fn delivery(&self, delivery: &DeliverySummary) -> Part {
        let tracking = delivery.tracking_number.as_deref();
        let told = delivery.updates.iter().map(|one| (state(&one.status), moment(one.happened_at)));
        let date = delivery.delivery_date.map(|date| date.to_string());
        self.hidden("Delivery", "deliveries").unwrap_or_else(|| Part {
            title: "Delivery",
            state: state(delivery.progress.as_deref().unwrap_or(&delivery.status)),
            facts: some(vec![
                self.text("From", "warehouse", Some(&delivery.warehouse)),
                self.text("Tracking number", "tracking_number", tracking),
                self.text("To arrive on", "delivery_date", date.as_deref()),
                self.time("Scheduled", "scheduled_at", delivery.scheduled_at),
                self.text("Refused", "refusal_code", delivery.refusal_code.as_deref()),
                self.time("Cancelled", "cancelled_at", delivery.cancelled_at),
            ]),
            lines: told.collect(),
        })
    }

    fn items(&self) -> Vec<Item> {
        if self.veil.hides("items") {
            return Vec::new();
        }
        let item = |item: &oms_tasks::ItemSummary| {
            let price = item.unit_price_minor;
            let sum = price.checked_mul(i64::from(item.quantity));
            Item {
                line: item.line_no,
                sku: self.veil.text("sku", item.sku.as_str()),
                quantity: item.quantity,
                price: self.money("", "unit_price_minor", Some(price)).value,
                sum: self.money("", "unit_price_minor", sum).value,
            }
        };
        self.order.items.iter().map(item).collect()
    }

    fn notifications(&self) -> Vec<Note> {
        if self.veil.hides("notifications") {
            return Vec::new();
        }
        let note = |note: &oms_tasks::NotificationSummary| {
            let time = note.sent_at.unwrap_or(note.created_at);
            Note {
                stage: state(&note.stage),
                state: state(&note.status),
                to: self.veil.text("recipient", note.recipient.as_str()),
                body: self.veil.text("body", note.body.as_str()),
                time: moment(time),
                exact: exact(time),
            }
        };
        self.order.notifications.iter().map(note).collect()
    }
}

fn more_than_none(minor: i64) -> Option<i64> {
    Some(minor).filter(|minor| *minor > 0)
}

/// Those that say something.
fn some(facts: Vec<Fact>) -> Vec<Fact> {
    facts.into_iter().filter(|fact| !fact.value.is_empty()).collect()
}
