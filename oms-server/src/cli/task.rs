//! `oms task`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Remote};
use super::failure::Exit;
use super::out::{Out, Table, text, time};
use super::query::{Query, segment};
use super::{Ended, input};

#[derive(Args, Debug)]
pub(super) struct TaskOptions {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows a task.
    Get {
        /// The task's id.
        id: String,
    },
    /// Prints what workers logged of a task.
    Log {
        /// The task's id.
        id: String,
    },
    /// Takes tasks as a worker does. Ends with 7 if there is none.
    Poll {
        /// The task type.
        task_type: String,
        /// How many at most.
        #[arg(long, default_value_t = 1, value_name = "N")]
        count: u32,
        /// How many milliseconds to wait for one.
        #[arg(long, default_value_t = 100, value_name = "MS")]
        timeout: u32,
        /// Of this domain.
        #[arg(long)]
        domain: Option<String>,
        /// What the worker is called.
        #[arg(long, default_value = "oms-cli", value_name = "NAME")]
        worker: String,
    },
    /// Reports a task's result: by its id, or by its workflow's id and its reference name.
    Update {
        /// The task's id; with a reference name, the workflow's.
        id: String,
        /// The status.
        status: Status,
        /// The reference name of an open task of the workflow.
        #[arg(long, value_name = "REFERENCE")]
        reference: Option<String>,
        /// The output: a JSON object, `@FILE`, or `-` for stdin.
        #[arg(long, default_value = "{}", value_name = "JSON")]
        output: String,
        /// Why it did not complete.
        #[arg(long, conflicts_with = "reference")]
        reason: Option<String>,
    },
    /// Lists how many tasks wait in each queue.
    Queues,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Completed,
    Failed,
    FailedWithTerminalError,
    Canceled,
    InProgress,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::FailedWithTerminalError => "FAILED_WITH_TERMINAL_ERROR",
            Self::Canceled => "CANCELED",
            Self::InProgress => "IN_PROGRESS",
        }
    }
}

pub(super) fn run(options: TaskOptions, out: Out) -> Ended {
    let client = options.remote.client()?;
    let path = |id: &str| format!("/api/tasks/{}", segment(id));
    match options.action {
        Action::Get { id } => {
            let task = client.get(&path(&id))?;
            out.answer(&task, |out| show(&task, out));
        }
        Action::Log { id } => {
            let lines = client.get(&format!("{}/log", path(&id)))?;
            let lines = if lines.is_null() { json!([]) } else { lines };
            out.answer(&lines, |out| {
                for line in lines.as_array().into_iter().flatten() {
                    out.line(&format!("{} {}", time(line, "createdTime"), text(line, "log")));
                }
            });
        }
        Action::Poll { task_type, count, timeout, domain, worker } => {
            let query = Query::new(format!("/api/tasks/poll/batch/{}", segment(&task_type)))
                .with("count", count)
                .with("timeout", timeout)
                .with("workerid", worker)
                .maybe("domain", domain);
            return Ok(polled(&client.get(query.as_str())?, out));
        }
        Action::Update { id, status, reference, output, reason } => {
            let output = input::object("--output", &output)?;
            return match reference {
                Some(name) => update_named(&client, (&id, &name), status, &output, out),
                None => update(&client, &id, status, (output, reason), out),
            };
        }
        Action::Queues => queues(&client, out)?,
    }
    Ok(Exit::Done)
}

fn show(task: &Value, out: Out) {
    for (name, key) in [
        ("task", "taskId"),
        ("reference", "referenceTaskName"),
        ("name", "taskDefName"),
        ("workflow", "workflowInstanceId"),
        ("status", "status"),
        ("retry", "retryCount"),
        ("worker", "workerId"),
        ("reason", "reasonForIncompletion"),
        ("input", "inputData"),
        ("output", "outputData"),
    ] {
        let shown = text(task, key);
        if !shown.is_empty() {
            out.field(name, &shown);
        }
    }
}

fn polled(tasks: &Value, out: Out) -> Exit {
    let all = tasks.as_array().map(Vec::as_slice).unwrap_or_default();
    out.answer(tasks, |out| {
        let mut table = Table::new(&["TASK", "REFERENCE", "INPUT"]);
        for task in all {
            let input = text(task, "inputData");
            table.row([text(task, "taskId"), text(task, "referenceTaskName"), input]);
        }
        out.table(&table);
    });
    if all.is_empty() { Exit::Negative } else { Exit::Done }
}

fn update(
    client: &Client,
    id: &str,
    status: Status,
    (output, reason): (Value, Option<String>),
    out: Out,
) -> Ended {
    let task = client.get(&format!("/api/tasks/{}", segment(id)))?;
    let body = json!({
        "taskId": id,
        "workflowInstanceId": task.get("workflowInstanceId"),
        "status": status.as_str(),
        "outputData": output,
        "reasonForIncompletion": reason,
        "workerId": task.get("workerId"),
    });
    client.post("/api/tasks", &body)?;
    out.answer(&json!({ "taskId": id }), |out| out.line(&format!("{id}\t{}", status.as_str())));
    Ok(Exit::Done)
}

fn update_named(
    client: &Client,
    (id, name): (&str, &str),
    status: Status,
    output: &Value,
    out: Out,
) -> Ended {
    let path = format!("/api/tasks/{}/{}/{}", segment(id), segment(name), status.as_str());
    let task = client.post(&path, output)?.id();
    if task.is_empty() {
        let why = format!("workflow {id} has no open task {name:?}");
        return Err(super::Failure::new(Exit::NotFound, why));
    }
    out.answer(&json!({ "taskId": task }), |out| out.line(&format!("{task}\t{}", status.as_str())));
    Ok(Exit::Done)
}

fn queues(client: &Client, out: Out) -> Result<(), super::Failure> {
    let sizes = client.get("/api/tasks/queue/all")?;
    out.answer(&sizes, |out| {
        let mut table = Table::new(&["QUEUE", "TASKS"]);
        for (name, size) in sizes.as_object().into_iter().flatten() {
            table.row([name.clone(), size.to_string()]);
        }
        out.table(&table);
    });
    Ok(())
}
