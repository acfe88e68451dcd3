//! `oms schedule`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::Remote;
use super::failure::Exit;
use super::out::{Out, Table, text, time};
use super::query::{Query, segment};
use super::{Ended, input};

#[derive(Args, Debug)]
pub(super) struct ScheduleOptions {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keeps the schedules of files, each in place of the one of its name.
    Put {
        /// JSON files with a schedule or a list of them; `-` is stdin.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lists schedules.
    List {
        /// Of this workflow definition.
        #[arg(long, value_name = "NAME")]
        workflow: Option<String>,
    },
    /// Prints a schedule as JSON.
    Show {
        /// Its name.
        name: String,
    },
    /// Stops a schedule from firing.
    Pause {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Lets a paused schedule fire.
    Resume {
        /// Its name.
        name: String,
    },
    /// Removes a schedule.
    Remove {
        /// Its name.
        name: String,
    },
}

pub(super) fn run(options: ScheduleOptions, out: Out) -> Ended {
    const ALL: &str = "/api/scheduler/schedules";
    let client = options.remote.client()?;
    let path = |name: &str, what: &str| format!("{ALL}/{}{what}", segment(name));
    let done = |name: &str, what: &str| {
        out.answer(&json!({ "name": name, "done": true }), |out| {
            out.line(&format!("{name}\t{what}"));
        });
    };
    match options.action {
        Action::Put { files } => {
            let mut kept = Vec::new();
            for file in files {
                for text in input::values(&file)? {
                    let sent = client.send(&Method::POST, ALL, Some(text.get()));
                    kept.push(sent?.json()?);
                }
            }
            out.answer(&json!(kept), |out| table(&kept, out));
        }
        Action::List { workflow } => {
            let all = client.get(Query::new(ALL).maybe("workflowName", workflow).as_str())?;
            out.answer(&all, |out| table(all.as_array().map_or(&[][..], Vec::as_slice), out));
        }
        Action::Show { name } => {
            let found = client.get(&path(&name, ""))?;
            out.answer(&found, |out| out.line(&format!("{found:#}")));
        }
        Action::Pause { name, reason } => {
            let query = Query::new(path(&name, "/pause")).maybe("reason", reason);
            client.put(query.as_str(), &json!({}))?;
            done(&name, "paused");
        }
        Action::Resume { name } => {
            client.put(&path(&name, "/resume"), &json!({}))?;
            done(&name, "resumed");
        }
        Action::Remove { name } => {
            client.delete(&path(&name, ""))?;
            done(&name, "removed");
        }
    }
    Ok(Exit::Done)
}

fn table(schedules: &[Value], out: Out) {
    let mut table = Table::new(&["SCHEDULE", "CRON", "WORKFLOW", "PAUSED", "NEXT"]);
    for schedule in schedules {
        let started = schedule.get("startWorkflowRequest").unwrap_or(&Value::Null);
        let crons = match schedule.get("cronSchedules").and_then(Value::as_array) {
            Some(several) if !several.is_empty() => {
                several.iter().map(|one| text(one, "cronExpression")).collect::<Vec<_>>().join("; ")
            }
            _ => text(schedule, "cronExpression"),
        };
        table.row([
            text(schedule, "name"),
            crons,
            text(started, "name"),
            text(schedule, "paused"),
            time(schedule, "nextRunTime"),
        ]);
    }
    out.table(&table);
}
