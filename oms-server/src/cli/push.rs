//! `oms definition push`: definitions on another server, and what it will not do of what they say.

use std::path::PathBuf;

use clap::Args;
use oms_engine::definition::SchemaDef;
use oms_engine::{TaskDef, WorkflowDef, WorkflowTask};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ureq::http::Method;

use super::Ended;
use super::client::{Client, Remote};
use super::definition::{Definition, FILES, read_all};
use super::failure::{Exit, Failure};
use super::out::Out;

#[derive(Args, Debug)]
pub(super) struct PushOptions {
    #[arg(help = format!("{FILES}. Without files: all definitions of the server"))]
    files: Vec<PathBuf>,
    /// The Conductor to register them on: its address, with or without `/api`.
    #[arg(long, value_name = "URL")]
    to: String,
    /// The id of the key to come with there.
    #[arg(
        long,
        env = "OMS_TO_KEY_ID",
        hide_env_values = true,
        value_name = "ID",
        requires = "to_key_secret"
    )]
    to_key_id: Option<String>,
    /// Its secret; rather set the variable.
    #[arg(
        long,
        env = "OMS_TO_KEY_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        requires = "to_key_id"
    )]
    to_key_secret: Option<String>,
    /// A file with certificates (PEM) to trust there, beside those of the system.
    #[arg(long, value_name = "FILE")]
    to_ca_cert: Option<PathBuf>,
    /// Also workflow definitions whose name and version are there already.
    #[arg(long)]
    overwrite: bool,
    /// Registers nothing: lists what a Conductor would not do.
    #[arg(long)]
    dry_run: bool,
}

/// Something that a definition says and a Conductor does not do.
#[derive(Debug, Serialize)]
struct Missing {
    /// A JSON pointer.
    path: String,
    what: &'static str,
}

const NOT_UNDONE: &str = "is not known there: what the step did is not undone";
const NOT_CHECKED: &str = "is kept there, and nothing is checked by it";
const NO_WINDOW: &str = "is kept there; a Conductor on PostgreSQL does not go by it";
const NO_PLACE: &str = "is kept there; tasks that workers run stay in their common queue";
const NOT_ONCE: &str = "is kept there; two starts under one key are two runs";
const NO_KEY: &str =
    "is called there without an Idempotency-Key: a call that is repeated acts again";

pub(super) fn run(remote: &Remote, options: &PushOptions, out: Out) -> Ended {
    let key = options.to_key_id.clone().zip(options.to_key_secret.clone());
    let there = Client::new(&options.to, key, options.to_ca_cert.as_deref())?;
    let definitions = match &options.files[..] {
        [] => of_server(&remote.client()?)?,
        files => read_all(files)?,
    };
    let (mut shown, mut exit) = (Vec::new(), Exit::Done);
    for definition in definitions {
        let title = definition.title();
        let mut missing = missing(&definition);
        if !options.dry_run {
            definition.register_or_say(&there, options.overwrite)?;
            let kept = there.get(&definition.path())?;
            // An `oms server` knows it.
            missing.retain(|one| one.what != NOT_UNDONE || kept.pointer(&one.path).is_none());
        }
        if !missing.is_empty() {
            exit = Exit::Negative;
        }
        if !out.json {
            let verdict = if options.dry_run { "not registered" } else { "registered" };
            out.line(&format!("{title}\t{verdict}"));
            missing.iter().for_each(|one| out.line(&format!("  {} {}", one.path, one.what)));
        }
        shown.push(json!({
            "definition": title, "registered": !options.dry_run, "missing": missing,
        }));
    }
    out.answer(&Value::Array(shown), |_| {});
    Ok(exit)
}

/// All definitions of a running server, task definitions first.
fn of_server(here: &Client) -> Result<Vec<Definition>, Failure> {
    let mut all = Vec::new();
    for path in ["/api/metadata/taskdefs", "/api/metadata/workflow"] {
        let text = here.send(&Method::GET, path, None)?.text;
        let texts: Vec<Box<RawValue>> = serde_json::from_str(&text)
            .map_err(|error| Failure::failed(&format!("{path} is no list"), error))?;
        for text in texts {
            let read = Definition::read(text.get());
            all.push(read.map_err(|faults| Failure::failed("a definition of the server", faults))?);
        }
    }
    Ok(all)
}

fn missing(definition: &Definition) -> Vec<Missing> {
    let mut found = Vec::new();
    match definition {
        Definition::Task(def, _) => of_task_def(def, "", &mut found),
        Definition::Workflow(def, _) => of_workflow(def, &mut found),
    }
    found
}

fn of_workflow(def: &WorkflowDef, found: &mut Vec<Missing>) {
    if def.enforce_schema {
        of_schemas((&def.input_schema, &def.output_schema), "", found);
    }
    of_tasks(&def.tasks, "/tasks", found);
}

fn of_schemas(
    (input, output): (&Option<SchemaDef>, &Option<SchemaDef>),
    at: &str,
    found: &mut Vec<Missing>,
) {
    for (schema, name) in [(input, "inputSchema"), (output, "outputSchema")] {
        if schema.is_some() {
            found.push(Missing { path: format!("{at}/{name}"), what: NOT_CHECKED });
        }
    }
}

fn of_task_def(def: &TaskDef, at: &str, found: &mut Vec<Missing>) {
    let mut add = |name: &str, what| found.push(Missing { path: format!("{at}/{name}"), what });
    if def.rate_limit_per_frequency > 0 {
        add("rateLimitPerFrequency", NO_WINDOW);
    }
    if def.isolation_group_id.is_some() {
        add("isolationGroupId", NO_PLACE);
    }
    if def.execution_name_space.is_some() {
        add("executionNameSpace", NO_PLACE);
    }
    if def.enforce_schema {
        of_schemas((&def.input_schema, &def.output_schema), at, found);
    }
}

fn of_tasks(tasks: &[WorkflowTask], at: &str, found: &mut Vec<Missing>) {
    for (n, task) in tasks.iter().enumerate() {
        of_task(task, &format!("{at}/{n}"), found);
    }
}

/// A step and those that stand in it; a definition that was read is not too deep for that.
fn of_task(task: &WorkflowTask, at: &str, found: &mut Vec<Missing>) {
    if let Some(undo) = &task.compensation {
        let path = format!("{at}/compensation");
        found.push(Missing { path: path.clone(), what: NOT_UNDONE });
        of_task(undo, &path, found);
    }
    if let Some(def) = &task.task_definition {
        of_task_def(def, &format!("{at}/taskDefinition"), found);
    }
    if task.sub_workflow_param.as_ref().is_some_and(|param| param.idempotency_key.is_some()) {
        let path = format!("{at}/subWorkflowParam/idempotencyKey");
        found.push(Missing { path, what: NOT_ONCE });
    }
    let input = &task.input_parameters;
    match task.task_type.as_str() {
        "START_WORKFLOW" => {
            let start = input.get("startWorkflow").and_then(|start| start.get("idempotencyKey"));
            if start.is_some_and(|key| !key.is_null()) {
                let path = format!("{at}/inputParameters/startWorkflow/idempotencyKey");
                found.push(Missing { path, what: NOT_ONCE });
            }
        }
        "HTTP" => {
            let asked = input.get("http_request").and_then(Value::as_object).unwrap_or(input);
            let method = asked.get("method").and_then(Value::as_str).unwrap_or_default();
            if ["POST", "PATCH"].iter().any(|one| one.eq_ignore_ascii_case(method)) {
                found.push(Missing { path: at.to_owned(), what: NO_KEY });
            }
        }
        _ => {}
    }
    for (case, tasks) in &task.decision_cases {
        let case = case.replace('~', "~0").replace('/', "~1");
        of_tasks(tasks, &format!("{at}/decisionCases/{case}"), found);
    }
    of_tasks(&task.default_case, &format!("{at}/defaultCase"), found);
    for (n, branch) in task.fork_tasks.iter().enumerate() {
        of_tasks(branch, &format!("{at}/forkTasks/{n}"), found);
    }
    of_tasks(&task.loop_over, &format!("{at}/loopOver"), found);
}
