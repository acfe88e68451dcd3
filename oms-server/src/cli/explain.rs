//! `oms explain`.

use clap::Args;
use serde_json::Value;

use super::Ended;
use super::client::Remote;
use super::failure::Exit;
use super::out::{Out, Table, text, time};
use super::query::segment;

/// Parts of a time, as they are called.
const PARTS: [(&str, &str); 6] = [
    ("at work", "runMs"),
    ("waiting for workers", "queueWaitMs"),
    ("delays", "backOffMs"),
    ("waiting apart", "waitingMs"),
    ("sub-workflows", "subWorkflowMs"),
    ("between tasks", "betweenMs"),
];

#[derive(Args, Debug)]
pub(super) struct ExplainOptions {
    #[command(flatten)]
    remote: Remote,
    /// The workflow's id.
    id: String,
}

pub(super) fn run(options: &ExplainOptions, out: Out) -> Ended {
    let client = options.remote.client()?;
    let explained = client.get(&format!("/api/workflow/{}/explain", segment(&options.id)))?;
    out.answer(&explained, |out| show(&explained, out));
    Ok(Exit::Done)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn show(explained: &Value, out: Out) {
    for (name, key) in [("workflow", "workflowId"), ("name", "workflowName"), ("status", "status")]
    {
        out.field(name, &text(explained, key));
    }
    out.field("summary", &text(explained, "summary"));
    let deadline = time(explained, "deadline");
    if !deadline.is_empty() {
        out.field("deadline", &deadline);
    }
    for task in list(explained, "openTasks") {
        out.field("open", &text(task, "summary"));
        if let Some(child) = task.pointer("/waitsFor/workflowId").and_then(Value::as_str) {
            out.field("", &format!("see: oms explain {child}"));
        }
    }
    let Some(times) = explained.get("time") else { return };
    out.field("took", &format!("{} ms", text(times, "totalMs")));
    let null = Value::Null;
    let critical = times.get("critical").unwrap_or(&null);
    for (name, key) in PARTS {
        if critical.get(key).and_then(Value::as_i64).is_some_and(|ms| ms > 0) {
            out.field(name, &format!("{} ms", text(critical, key)));
        }
    }
    let mut table =
        Table::new(&["STEP", "ATTEMPTS", "PATH MS", "ALL MS", "WORK", "QUEUE", "DELAY", "APART"]);
    for step in list(times, "steps") {
        let spent = step.get("spent").unwrap_or(&null);
        let of = |value: &Value| -> i64 {
            PARTS.iter().filter_map(|(_, key)| value.get(key)?.as_i64()).sum()
        };
        let apart = ["waitingMs", "subWorkflowMs"];
        let apart: i64 = apart.iter().filter_map(|key| spent.get(key)?.as_i64()).sum();
        table.row([
            text(step, "referenceTaskName"),
            text(step, "attempts"),
            of(step.get("critical").unwrap_or(&null)).to_string(),
            of(spent).to_string(),
            text(spent, "runMs"),
            text(spent, "queueWaitMs"),
            text(spent, "backOffMs"),
            apart.to_string(),
        ]);
    }
    out.table(&table);
}
