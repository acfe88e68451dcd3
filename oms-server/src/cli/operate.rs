//! `oms workflow`: what operators do to runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::out::Out;
use super::query::{Query, segment};
use super::{Ended, input};

#[derive(Debug, Subcommand)]
pub(super) enum Operation {
    /// Ends workflows.
    Terminate {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Why; it is kept as the reason.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Stops workflows from going on: what is scheduled can still be done.
    Pause {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Lets paused workflows go on.
    Resume {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Tries the tasks again that failed workflows failed by.
    Retry {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Retries within the sub-workflow that failed, instead of starting it again.
        #[arg(long)]
        resume_subworkflow_tasks: bool,
    },
    /// Runs ended workflows again from the start.
    Restart {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// On the latest definition rather than on the one they had.
        #[arg(long)]
        latest: bool,
    },
    /// Runs an ended workflow again from a task, or from the start with another input.
    Rerun {
        /// The workflow's id.
        id: String,
        /// The id of the task to run again from.
        #[arg(long, value_name = "TASK")]
        from_task: Option<String>,
        /// That task's new input: a JSON object, `@FILE`, or `-` for stdin.
        #[arg(long, value_name = "JSON", requires = "from_task")]
        task_input: Option<String>,
        /// The workflow's new input, as above.
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// The workflow's new correlation id.
        #[arg(long, value_name = "ID")]
        correlation_id: Option<String>,
    },
    /// Passes over a task of a running workflow that is not scheduled yet.
    Skip {
        /// The workflow's id.
        id: String,
        /// The task's reference name.
        reference: String,
        /// What stands as the task's output: a JSON object, `@FILE`, or `-` for stdin.
        #[arg(long, default_value = "{}", value_name = "JSON")]
        output: String,
    },
    /// Removes ended workflows with all that is kept of them, for good.
    Remove {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Does not ask first. Where stdin is no terminal, nobody can be asked, and it is needed.
        #[arg(long)]
        yes: bool,
    },
    /// Makes tasks that wait for their next call-back due at once.
    ResetCallbacks {
        /// The ids of their workflows.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

pub(super) fn run(client: &Client, operation: Operation, out: Out) -> Ended {
    let path = |id: &str, what: &str| format!("/api/workflow/{}{what}", segment(id));
    let post = |path: Query| client.post(path.as_str(), &json!({}));
    let put = |path: String| client.put(&path, &json!({}));
    match operation {
        Operation::Terminate { ids, reason } => each(&ids, "terminated", out, |id| {
            client.delete(Query::new(path(id, "")).maybe("reason", reason.as_ref()).as_str())
        }),
        Operation::Pause { ids } => each(&ids, "paused", out, |id| put(path(id, "/pause"))),
        Operation::Resume { ids } => each(&ids, "resumed", out, |id| put(path(id, "/resume"))),
        Operation::Retry { ids, resume_subworkflow_tasks } => each(&ids, "retried", out, |id| {
            let query = Query::new(path(id, "/retry"));
            post(query.with("resumeSubworkflowTasks", resume_subworkflow_tasks))
        }),
        Operation::Restart { ids, latest } => each(&ids, "restarted", out, |id| {
            post(Query::new(path(id, "/restart")).with("useLatestDefinitions", latest))
        }),
        Operation::Remove { ids, yes } => {
            let some = if ids.len() == 1 { "workflow" } else { "workflows" };
            if !yes && !input::is_sure(&format!("Remove {} {some} for good?", ids.len()))? {
                return Ok(Exit::Negative);
            }
            each(&ids, "removed", out, |id| {
                let query = Query::new(path(id, "/remove")).with("archiveWorkflow", false);
                client.delete(query.as_str())
            })
        }
        Operation::ResetCallbacks { ids } => {
            each(&ids, "reset", out, |id| post(Query::new(path(id, "/resetcallbacks"))))
        }
        Operation::Rerun { id, from_task, task_input, input, correlation_id } => {
            let given = |option: &str, text: Option<String>| {
                text.map(|text| input::object(option, &text)).transpose()
            };
            let body = json!({
                "reRunFromTaskId": from_task,
                "taskInput": given("--task-input", task_input)?,
                "workflowInput": given("--input", input)?,
                "correlationId": correlation_id,
            });
            let ids = [id];
            each(&ids, "rerun", out, |id| client.post(&path(id, "/rerun"), &body))
        }
        Operation::Skip { id, reference, output } => {
            let body = json!({ "taskOutput": input::object("--output", &output)? });
            let ids = [id];
            each(&ids, "skipped", out, |id| {
                client.put(&path(id, &format!("/skiptask/{}", segment(&reference))), &body)
            })
        }
    }
}

/// Each by itself: one that is refused keeps nobody else. The first refusal says how it ends.
fn each<T>(
    ids: &[String],
    done: &str,
    out: Out,
    act: impl Fn(&str) -> Result<T, Failure>,
) -> Ended {
    let (mut told, mut exit) = (Vec::new(), Exit::Done);
    for id in ids {
        match act(id) {
            Ok(_) => {
                told.push(json!({ "workflowId": id, "done": true }));
                if !out.json {
                    out.line(&format!("{id}\t{done}"));
                }
            }
            Err(failure) if ids.len() == 1 => return Err(failure),
            Err(failure) => {
                if exit == Exit::Done {
                    exit = failure.exit;
                }
                told.push(json!({ "workflowId": id, "done": false, "error": failure.message }));
                if !out.json {
                    out.failure(&failure);
                }
            }
        }
    }
    out.answer(&Value::Array(told), |_| {});
    Ok(exit)
}
