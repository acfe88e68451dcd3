//! Waiting for a run's end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Ended;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::out::{Out, text};
use super::query::segment;

/// It is asked again after these, longer and longer while nothing happens.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Tells each change of a run until its end: 0 for one that completed, else 7.
pub(super) fn watch(client: &Client, id: &str, timeout: Option<Duration>, out: Out) -> Ended {
    let begun = Instant::now();
    let path = format!("/api/workflow/{}", segment(id));
    let (mut seen, mut pause) = (BTreeMap::new(), PAUSE_MIN);
    loop {
        let run = client.get(&path)?;
        if tell(&run, &mut seen, out) {
            pause = PAUSE_MIN;
        }
        let status = text(&run, "status");
        if !matches!(status.as_str(), "RUNNING" | "PAUSED") {
            return Ok(ended(&run, &status, out));
        }
        if timeout.is_some_and(|most| begun.elapsed() + pause > most) {
            let why = format!("workflow {id} is {status} and has not ended in time");
            return Err(Failure::new(Exit::Unreachable, why));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says which tasks have another status than before. Out: whether any has.
fn tell(run: &Value, seen: &mut BTreeMap<String, String>, out: Out) -> bool {
    let mut changed = false;
    for task in run.get("tasks").and_then(Value::as_array).into_iter().flatten() {
        let (id, status) = (text(task, "taskId"), text(task, "status"));
        if seen.get(&id) == Some(&status) {
            continue;
        }
        changed = true;
        if !out.json {
            let why = text(task, "reasonForIncompletion");
            let name = text(task, "referenceTaskName");
            let attempt = match text(task, "retryCount").as_str() {
                "" | "0" => String::new(),
                n => format!(" (retry {n})"),
            };
            out.field(&format!("{name}{attempt}"), &status);
            if !why.is_empty() {
                out.field("", &why);
            }
        }
        seen.insert(id, status);
    }
    changed
}

fn ended(run: &Value, status: &str, out: Out) -> Exit {
    let shown = json!({
        "workflowId": run.get("workflowId"),
        "status": status,
        "output": run.get("output"),
        "reasonForIncompletion": run.get("reasonForIncompletion"),
    });
    out.answer(&shown, |out| {
        out.field("workflow", status);
        let why = text(run, "reasonForIncompletion");
        if !why.is_empty() {
            out.field("reason", &why);
        }
        out.field("output", &text(run, "output"));
    });
    if status == "COMPLETED" { Exit::Done } else { Exit::Negative }
}
