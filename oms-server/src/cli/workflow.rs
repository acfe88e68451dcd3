//! `oms workflow`: starting and reading runs.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Remote};
use super::failure::{Exit, Failure};
use super::operate::{self, Operation};
use super::out::{Out, Table, text, time};
use super::query::{Query, segment};
use super::{Ended, input, watch};

#[derive(Args, Debug)]
pub(super) struct WorkflowOptions {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts a workflow and prints its id.
    Start(StartOptions),
    /// Shows a workflow and its tasks.
    Get {
        /// The workflow's id.
        id: String,
    },
    /// Lists workflows, newest first.
    List(ListOptions),
    /// Waits for a workflow's end, and tells what happens until then. Ends with 0 if it completed,
    /// with 7 if it ended otherwise.
    Watch {
        /// The workflow's id.
        id: String,
        /// After how many seconds to give up, with 6.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    #[command(flatten)]
    Operate(Operation),
}

#[derive(Args, Debug)]
struct StartOptions {
    /// The definition's name.
    name: String,
    /// The definition's version; the latest if it is not given.
    #[arg(long, value_name = "N")]
    version: Option<i32>,
    /// The input: a JSON object, `@FILE`, or `-` for stdin.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    input: String,
    /// What the run is known by elsewhere.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// From 0 to 99; the higher is first.
    #[arg(long, value_name = "N")]
    priority: Option<i32>,
    /// Starts once however often it is asked for under this key.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Waits for its end as `watch` does.
    #[arg(long)]
    watch: bool,
}

#[derive(Args, Debug)]
struct ListOptions {
    /// Of this definition.
    #[arg(long)]
    name: Option<String>,
    /// In this status (RUNNING, COMPLETED, FAILED …); can be given more than once.
    #[arg(long)]
    status: Vec<String>,
    /// Of this correlation id.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Further conditions in Conductor's query syntax.
    #[arg(long)]
    query: Option<String>,
    /// Words that stand in it.
    #[arg(long, value_name = "TEXT")]
    free_text: Option<String>,
    /// How many to pass over.
    #[arg(long, default_value_t = 0, value_name = "N")]
    start: u32,
    /// How many to list.
    #[arg(long, default_value_t = 100, value_name = "N")]
    size: u32,
}

pub(super) fn run(options: WorkflowOptions, out: Out) -> Ended {
    let client = options.remote.client()?;
    match options.action {
        Action::Start(options) => start(&client, &options, out),
        Action::Get { id } => get(&client, &id, out),
        Action::List(options) => list(&client, &options, out),
        Action::Watch { id, timeout } => {
            watch::watch(&client, &id, timeout.map(Duration::from_secs), out)
        }
        Action::Operate(operation) => operate::run(&client, operation, out),
    }
}

fn start(client: &Client, options: &StartOptions, out: Out) -> Ended {
    let body = json!({
        "name": options.name,
        "version": options.version,
        "input": input::object("--input", &options.input)?,
        "correlationId": options.correlation_id,
        "priority": options.priority,
        "idempotencyKey": options.idempotency_key,
        "idempotencyStrategy": options.idempotency_key.as_ref().map(|_| "RETURN_EXISTING"),
    });
    let id = client.post("/api/workflow", &body)?.id();
    if options.watch {
        return watch::watch(client, &id, None, out);
    }
    out.answer(&json!({ "workflowId": id }), |out| out.line(&id));
    Ok(Exit::Done)
}

fn get(client: &Client, id: &str, out: Out) -> Ended {
    let run = client.get(&format!("/api/workflow/{}", segment(id)))?;
    out.answer(&run, |out| show(&run, out));
    Ok(Exit::Done)
}

fn show(run: &Value, out: Out) {
    for (name, key) in [
        ("workflow", "workflowId"),
        ("name", "workflowName"),
        ("version", "workflowVersion"),
        ("status", "status"),
        ("correlation id", "correlationId"),
        ("parent", "parentWorkflowId"),
        ("reason", "reasonForIncompletion"),
    ] {
        let shown = text(run, key);
        if !shown.is_empty() {
            out.field(name, &shown);
        }
    }
    for (name, key) in [("started", "startTime"), ("ended", "endTime")] {
        let shown = time(run, key);
        if !shown.is_empty() {
            out.field(name, &shown);
        }
    }
    for key in ["input", "output"] {
        out.field(key, &text(run, key));
    }
    let tasks = run.get("tasks").and_then(Value::as_array);
    let mut table = Table::new(&["TASK", "TYPE", "STATUS", "RETRY", "STARTED", "ENDED", "REASON"]);
    for task in tasks.into_iter().flatten() {
        table.row([
            text(task, "referenceTaskName"),
            text(task, "taskDefName"),
            text(task, "status"),
            text(task, "retryCount"),
            time(task, "startTime"),
            time(task, "endTime"),
            text(task, "reasonForIncompletion"),
        ]);
    }
    out.table(&table);
}

/// A value within Conductor's query syntax.
fn quoted(text: &str) -> Result<String, Failure> {
    if text.contains(['"', '\'', '\\']) {
        let why = format!("{text:?} has a quote in it, which a query cannot say");
        return Err(Failure::usage(why));
    }
    Ok(format!("\"{text}\""))
}

fn query_of(options: &ListOptions) -> Result<Option<String>, Failure> {
    let mut parts = Vec::new();
    if let Some(name) = &options.name {
        parts.push(format!("workflowType = {}", quoted(name)?));
    }
    if !options.status.is_empty() {
        let all: Result<Vec<String>, _> = options.status.iter().map(|s| quoted(s)).collect();
        parts.push(format!("status IN ({})", all?.join(",")));
    }
    if let Some(id) = &options.correlation_id {
        parts.push(format!("correlationId = {}", quoted(id)?));
    }
    parts.extend(options.query.clone());
    Ok(Some(parts.join(" AND ")).filter(|query| !query.is_empty()))
}

fn list(client: &Client, options: &ListOptions, out: Out) -> Ended {
    let query = Query::new("/api/workflow/search")
        .with("start", options.start)
        .with("size", options.size)
        .with("sort", "startTime:DESC")
        .maybe("freeText", options.free_text.as_ref())
        .maybe("query", query_of(options)?);
    let found = client.get(query.as_str())?;
    out.answer(&found, |out| {
        let mut table = Table::new(&[
            "WORKFLOW",
            "NAME",
            "VERSION",
            "STATUS",
            "STARTED",
            "ENDED",
            "CORRELATION",
        ]);
        for run in found.get("results").and_then(Value::as_array).into_iter().flatten() {
            table.row([
                text(run, "workflowId"),
                text(run, "workflowType"),
                text(run, "version"),
                text(run, "status"),
                time(run, "startTime"),
                time(run, "endTime"),
                text(run, "correlationId"),
            ]);
        }
        out.table(&table);
    });
    Ok(Exit::Done)
}
