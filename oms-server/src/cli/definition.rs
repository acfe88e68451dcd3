//! `oms definition`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oms_engine::definition::{Faults, Notice, validate_task_def};
use oms_engine::{TaskDef, WorkflowDef};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Client, Remote};
use super::differences::differences;
use super::failure::{Exit, Failure};
use super::out::{Out, Table, text};
use super::push::PushOptions;
use super::query::{Query, segment};
use super::{Ended, input};
use crate::graph::{alone, layout};

#[derive(Args, Debug)]
pub(super) struct DefinitionOptions {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

pub(super) const FILES: &str = "JSON files, each with a definition or a list of them; `-` is stdin. What has \
                     `tasks` is a workflow definition, the rest are task definitions";

#[derive(Debug, Subcommand)]
enum Action {
    /// Checks definitions here, without a server; tells also what they say without an effect. What
    /// hangs on the server (hosts of HTTP tasks, schemas by name) is checked when they are
    /// registered.
    Validate {
        #[arg(required = true, help = FILES)]
        files: Vec<PathBuf>,
    },
    /// Registers definitions: task definitions first.
    Register {
        #[arg(required = true, help = FILES)]
        files: Vec<PathBuf>,
        /// Also workflow definitions whose name and version are there already.
        #[arg(long)]
        overwrite: bool,
    },
    /// Lists workflow definitions.
    List {
        /// Task definitions instead.
        #[arg(long)]
        tasks: bool,
    },
    /// Prints a workflow definition as JSON.
    Show {
        /// Its name.
        name: String,
        /// Its version; the latest if it is not given.
        #[arg(long, value_name = "N", conflicts_with = "task")]
        version: Option<i32>,
        /// The task definition of that name instead.
        #[arg(long)]
        task: bool,
        /// Its picture as SVG instead.
        #[arg(long, conflicts_with = "task")]
        svg: bool,
    },
    /// Compares definitions in files with those of the server. Ends with 7 if they differ.
    Diff {
        #[arg(required = true, help = FILES)]
        files: Vec<PathBuf>,
    },
    /// Registers definitions on another server, task definitions first, and lists what a Conductor will
    /// not do of what they say. Ends with 7 if there is any.
    Push(PushOptions),
    /// Removes a version of a workflow definition, or a task definition.
    Remove {
        /// Its name.
        name: String,
        /// Its version.
        #[arg(long, value_name = "N", required_unless_present = "task", conflicts_with = "task")]
        version: Option<i32>,
        /// The task definition of that name.
        #[arg(long)]
        task: bool,
    },
}

/// A definition of a file, with its text.
#[derive(Debug)]
pub(super) enum Definition {
    Task(Box<TaskDef>, String),
    Workflow(Box<WorkflowDef>, String),
}

impl Definition {
    pub(super) fn read(text: &str) -> Result<Self, Faults> {
        #[derive(Deserialize)]
        struct Kind {
            tasks: Option<serde::de::IgnoredAny>,
        }
        let is_workflow = serde_json::from_str::<Kind>(text).is_ok_and(|kind| kind.tasks.is_some());
        if is_workflow {
            Ok(Self::Workflow(Box::new(WorkflowDef::from_json(text)?), text.to_owned()))
        } else {
            Ok(Self::Task(Box::new(TaskDef::from_json(text)?), text.to_owned()))
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::Task(def, _) => format!("task definition {}", def.name),
            Self::Workflow(def, _) => {
                format!("workflow definition {} version {}", def.name, def.version)
            }
        }
    }

    /// As it is written by a server that has it.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let failed = |error: String| Failure::failed(&self.title(), error);
        match self {
            Self::Task(def, _) => serde_json::to_value(def).map_err(|e| failed(e.to_string())),
            Self::Workflow(def, _) => {
                let text = def.to_json().map_err(|faults| failed(faults.to_string()))?;
                serde_json::from_str(text.get()).map_err(|e| failed(e.to_string()))
            }
        }
    }

    /// Where a server has it.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Task(def, _) => format!("/api/metadata/taskdefs/{}", segment(&def.name)),
            Self::Workflow(def, _) => {
                Query::new(format!("/api/metadata/workflow/{}", segment(&def.name)))
                    .with("version", def.version)
                    .as_str()
                    .to_owned()
            }
        }
    }

    fn register(&self, client: &Client, overwrite: bool) -> Result<(), Failure> {
        let (path, body) = match self {
            Self::Task(_, text) => ("/api/metadata/taskdefs", format!("[{text}]")),
            Self::Workflow(_, text) if overwrite => {
                ("/api/metadata/workflow?overwrite=true", text.clone())
            }
            Self::Workflow(_, text) => ("/api/metadata/workflow", text.clone()),
        };
        client.send(&Method::POST, path, Some(&body)).map(drop)
    }

    /// As [`register`](Self::register); a refusal names it, and says what to do.
    pub(super) fn register_or_say(&self, client: &Client, overwrite: bool) -> Result<(), Failure> {
        self.register(client, overwrite).map_err(|failure| {
            let message = format!("{}: {}", self.title(), failure.message);
            let failure = Failure { message, ..failure };
            let exists = failure.status == Some(409) && !overwrite;
            if exists { failure.hint("--overwrite puts it in its place") } else { failure }
        })
    }
}

pub(super) fn run(options: DefinitionOptions, out: Out) -> Ended {
    match &options.action {
        Action::Validate { files } => return validate(files, out),
        // Files can be pushed where no server of ours is.
        Action::Push(push) => return super::push::run(&options.remote, push, out),
        _ => {}
    }
    let client = options.remote.client()?;
    match options.action {
        Action::Validate { files } => validate(&files, out),
        Action::Push(push) => super::push::run(&options.remote, &push, out),
        Action::Register { files, overwrite } => register(&client, &files, overwrite, out),
        Action::List { tasks } => list(&client, tasks, out),
        Action::Show { name, version, task, svg } => {
            let path = if task { "taskdefs" } else { "workflow" };
            let query = Query::new(format!("/api/metadata/{path}/{}", segment(&name)));
            let found = client.get(query.maybe("version", version).as_str())?;
            if svg {
                let def = WorkflowDef::from_json(&found.to_string())
                    .map_err(|faults| Failure::failed(&name, faults))?;
                let title = format!("{} version {}", def.name, def.version);
                let svg = alone(&layout(&def), &title);
                out.answer(&json!({ "svg": svg }), |out| out.line(&svg));
                return Ok(Exit::Done);
            }
            out.answer(&found, |out| out.line(&format!("{found:#}")));
            Ok(Exit::Done)
        }
        Action::Diff { files } => diff(&client, &files, out),
        Action::Remove { name, version, task } => {
            let path = match version {
                Some(version) if !task => format!("workflow/{}/{version}", segment(&name)),
                _ => format!("taskdefs/{}", segment(&name)),
            };
            client.delete(&format!("/api/metadata/{path}"))?;
            out.answer(&json!({ "name": name, "done": true }), |out| {
                out.line(&format!("{name}\tremoved"));
            });
            Ok(Exit::Done)
        }
    }
}

/// What stands in a file.
type Read = (PathBuf, Result<Definition, Faults>);

/// The definitions of files, task definitions first; those that cannot be read by their faults.
fn read(files: &[PathBuf]) -> Result<Vec<Read>, Failure> {
    let mut all = Vec::new();
    for file in files {
        for text in input::values(file)? {
            all.push((file.clone(), Definition::read(text.get())));
        }
    }
    all.sort_by_key(|(_, read)| matches!(read, Ok(Definition::Workflow(..))));
    Ok(all)
}

/// As [`read`], where one that cannot be read is the end.
pub(super) fn read_all(files: &[PathBuf]) -> Result<Vec<Definition>, Failure> {
    let refused = |file: &Path, faults: Faults| {
        Failure::new(Exit::Refused, format!("{}: {faults}", file.display()))
    };
    let all = read(files)?.into_iter();
    all.map(|(file, read)| read.map_err(|faults| refused(&file, faults))).collect()
}

fn validate(files: &[PathBuf], out: Out) -> Ended {
    let all = read(files)?;
    let tasks: std::collections::BTreeMap<String, TaskDef> = all
        .iter()
        .filter_map(|(_, read)| match read {
            Ok(Definition::Task(def, _)) => Some((def.name.clone(), (**def).clone())),
            _ => None,
        })
        .collect();
    let (mut shown, mut exit) = (Vec::new(), Exit::Done);
    for (file, read) in &all {
        let (title, checked): (String, Result<Vec<Notice>, Faults>) = match read {
            Err(faults) => ("definition".to_owned(), Err(faults.clone())),
            Ok(one @ Definition::Task(def, _)) => (one.title(), validate_task_def(def)),
            Ok(one @ Definition::Workflow(def, _)) => {
                (one.title(), oms_engine::definition::validate(def, &tasks))
            }
        };
        let (faults, notices) = match checked {
            Ok(notices) => (Vec::new(), notices.iter().map(ToString::to_string).collect()),
            Err(faults) => {
                exit = Exit::Refused;
                let all: Vec<String> =
                    faults.iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
                (all, Vec::<String>::new())
            }
        };
        if !out.json {
            let verdict = if faults.is_empty() { "ok" } else { "refused" };
            out.line(&format!("{}\t{title}\t{verdict}", file.display()));
            faults.iter().for_each(|fault| out.line(&format!("  {fault}")));
            notices.iter().for_each(|notice| out.line(&format!("  without an effect: {notice}")));
        }
        shown.push(json!({
            "file": file, "definition": title, "faults": faults, "notices": notices,
        }));
    }
    out.answer(&Value::Array(shown), |_| {});
    Ok(exit)
}

fn register(client: &Client, files: &[PathBuf], overwrite: bool, out: Out) -> Ended {
    let mut done = Vec::new();
    for definition in read_all(files)? {
        let title = definition.title();
        definition.register_or_say(client, overwrite)?;
        if !out.json {
            out.line(&format!("{title}\tregistered"));
        }
        done.push(title);
    }
    out.answer(&json!({ "registered": done }), |_| {});
    Ok(Exit::Done)
}

fn list(client: &Client, tasks: bool, out: Out) -> Ended {
    let all =
        client.get(if tasks { "/api/metadata/taskdefs" } else { "/api/metadata/workflow" })?;
    let rows = all.as_array().map(Vec::as_slice).unwrap_or_default();
    out.answer(&all, |out| {
        let heading: &'static [&'static str] = if tasks {
            &["TASK", "RETRIES", "DESCRIPTION"]
        } else {
            &["WORKFLOW", "VERSION", "DESCRIPTION"]
        };
        let second = if tasks { "retryCount" } else { "version" };
        let mut table = Table::new(heading);
        for def in rows {
            table.row([text(def, "name"), text(def, second), text(def, "description")]);
        }
        out.table(&table);
    });
    Ok(Exit::Done)
}

fn diff(client: &Client, files: &[PathBuf], out: Out) -> Ended {
    let (mut shown, mut exit) = (Vec::new(), Exit::Done);
    for definition in read_all(files)? {
        let title = definition.title();
        let found = match client.get(&definition.path()) {
            Ok(theirs) => Some(differences(&definition.json()?, &theirs)),
            Err(failure) if failure.exit == Exit::NotFound => None,
            Err(failure) => return Err(failure),
        };
        if found.as_ref().is_none_or(|found| !found.is_empty()) {
            exit = Exit::Negative;
        }
        if !out.json {
            let verdict = match &found {
                None => "missing",
                Some(found) if found.is_empty() => "same",
                Some(_) => "differs",
            };
            out.line(&format!("{title}\t{verdict}"));
            for one in found.iter().flatten() {
                out.line(&format!("  {}: {} here, {} there", one.path, one.ours, one.theirs));
            }
        }
        shown.push(json!({
            "definition": title, "missing": found.is_none(), "differences": found,
        }));
    }
    out.answer(&Value::Array(shown), |_| {});
    Ok(exit)
}
