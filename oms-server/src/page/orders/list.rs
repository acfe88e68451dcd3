//! The list of orders.

use askama::Template;
use oms_tasks::orders::{ListFilter, ListedOrder, STATUSES};

use super::super::Answer;
use super::super::entry::{Visit, to};
use super::super::frame::{Frame, html};
use super::super::look::state;
use super::super::text::{exact, segment, short};
use super::desk;
use super::veil::Veil;
use crate::refusal::Refusal;

/// Orders of a page.
const SIZE: u16 = 50;

#[derive(Template)]
#[template(path = "page/orders.html")]
struct List {
    frame: Frame,
    statuses: Vec<(&'static str, String, bool)>,
    customer: String,
    /// Whether customers may be asked for.
    asks_customer: bool,
    filtered: bool,
    /// What is said where nothing fits.
    empty: String,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

struct Row {
    /// Markup.
    state: String,
    id: String,
    link: String,
    customer: String,
    total: String,
    time: String,
    time_exact: String,
    run: String,
    run_link: String,
}

pub(in super::super) async fn list(visit: Visit) -> Answer {
    let orders = desk(&visit)?;
    let veil = Veil::of(&visit.app.masked);
    let asked = |key: &str| visit.asked.text(key).map(str::trim).filter(|text| !text.is_empty());
    let sought = asked("order");
    if let Some(id) = sought
        && orders.status(id).await?.is_some()
    {
        return Ok(to(&visit.link(&format!("/orders/{}", segment(id)), &[])));
    }
    if asked("customer").is_some() && veil.hides("customer_email") {
        return Err(Refusal::argument("customer", "cannot be asked for: it is masked"));
    }
    let mut filter = ListFilter::default();
    filter.status = asked("status").map(str::to_owned);
    filter.customer_email = asked("customer").map(str::to_owned);
    filter.after = visit.asked.text("after").map(str::to_owned);
    filter.limit = SIZE + 1;
    let mut found = if sought.is_none() { orders.list(&filter).await? } else { Vec::new() };
    let more = found.len() > usize::from(SIZE);
    found.truncate(usize::from(SIZE));
    let kept: Vec<(&str, &str)> =
        ["status", "customer"].iter().filter_map(|key| Some((*key, asked(key)?))).collect();
    let page = |after: Option<&str>| {
        let mut parameters = kept.clone();
        parameters.extend(after.map(|after| ("after", after)));
        visit.link("/orders", &parameters)
    };
    let statuses = STATUSES
        .iter()
        .map(|&status| (status, status.to_lowercase(), filter.status.as_deref() == Some(status)));
    let last = found.last().map(|order| order.order_id.clone());
    html(&List {
        frame: Frame::of(&visit, "orders"),
        statuses: statuses.collect(),
        customer: filter.customer_email.clone().unwrap_or_default(),
        asks_customer: !veil.hides("customer_email"),
        filtered: !kept.is_empty() || sought.is_some(),
        empty: match sought {
            Some(id) => format!("There is no order {}.", short(id, 100)),
            None => "No order fits.".to_owned(),
        },
        first: filter.after.as_ref().map(|_| page(None)),
        next: last.filter(|_| more).map(|last| page(Some(&last))),
        rows: found.into_iter().map(|order| row(&visit, &veil, &order)).collect(),
    })
}

fn row(visit: &Visit, veil: &Veil, order: &ListedOrder) -> Row {
    let run = order.workflow_id.to_string();
    Row {
        state: state(&order.status),
        id: veil.text("order_id", order.order_id.as_str()),
        link: visit.link(&format!("/orders/{}", segment(&order.order_id)), &[]),
        customer: veil.text("customer_email", order.customer_email.as_deref()),
        total: veil.money("total_minor", order.total_minor, order.currency.as_deref()),
        time: veil.time("acknowledged_at", order.acknowledged_at),
        time_exact: order.acknowledged_at.map(exact).unwrap_or_default(),
        run_link: visit.link(&format!("/runs/{run}"), &[]),
        run,
    }
}
