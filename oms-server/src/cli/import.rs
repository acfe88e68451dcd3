//! `oms import`: the definitions of a running Conductor, registered here.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ureq::http::Method;

use super::Ended;
use super::client::{Client, Remote};
use super::definition::Definition;
use super::differences::{Difference, differences};
use super::failure::{Exit, Failure};
use super::out::{Out, Table};
use super::query::{Query, segment};

#[derive(Args, Debug)]
pub(super) struct ImportOptions {
    #[command(flatten)]
    remote: Remote,
    /// The Conductor to read from: its address, with or without `/api`.
    #[arg(long, value_name = "URL")]
    from: String,
    /// The id of the key to read with.
    #[arg(
        long,
        env = "OMS_FROM_KEY_ID",
        hide_env_values = true,
        value_name = "ID",
        requires = "from_key_secret"
    )]
    from_key_id: Option<String>,
    /// Its secret; rather set the variable.
    #[arg(
        long,
        env = "OMS_FROM_KEY_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        requires = "from_key_id"
    )]
    from_key_secret: Option<String>,
    /// A file with certificates (PEM) to trust when reading, beside those of the system.
    #[arg(long, value_name = "FILE")]
    from_ca_cert: Option<PathBuf>,
    /// Puts them in the place of definitions that are here already and differ, instead of keeping
    /// those.
    #[arg(long)]
    overwrite: bool,
    /// Says what would be done; what would be refused is known for workflow definitions only.
    #[arg(long)]
    dry_run: bool,
}

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// It is here now.
    Registered,
    /// It was here before, and says the same.
    Same,
    /// It was here before, says something else, and was left as it is.
    Kept,
    /// It cannot be run here.
    Refused,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Same => "same",
            Self::Kept => "kept",
            Self::Refused => "refused",
        }
    }
}

/// A line of the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    kind: Kind,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In what ours differs from theirs as it stands in the end.
    differences: Vec<Difference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Kind {
    #[serde(rename = "task definition")]
    Task,
    #[serde(rename = "workflow definition")]
    Workflow,
    #[serde(rename = "event handler")]
    Handler,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Task, Self::Workflow, Self::Handler];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task definition",
            Self::Workflow => "workflow definition",
            Self::Handler => "event handler",
        }
    }

    /// Where all of them are read.
    const fn list(self) -> &'static str {
        match self {
            Self::Task => "/api/metadata/taskdefs",
            Self::Workflow => "/api/metadata/workflow",
            Self::Handler => "/api/event",
        }
    }
}

/// What a definition is called.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    version: Option<i64>,
    event: String,
}

pub(super) fn run(options: &ImportOptions, out: Out) -> Ended {
    let here = options.remote.client()?;
    let key = options.from_key_id.clone().zip(options.from_key_secret.clone());
    let there = Client::new(&options.from, key, options.from_ca_cert.as_deref())?;
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let texts = there.send(&Method::GET, kind.list(), None)?.text;
        let texts: Vec<Box<RawValue>> = serde_json::from_str(&texts).map_err(|error| {
            let what = format!("{}{} is no list", there.base(), kind.list());
            Failure::failed(&what, error)
        })?;
        all.extend(texts.into_iter().map(|text| (kind, text)));
    }
    let progress = out.progress(u64::try_from(all.len()).unwrap_or(u64::MAX), "importing");
    let mut lines = Vec::new();
    for (kind, text) in all {
        lines.push(import(&here, kind, text.get(), options)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(report(&lines, options.dry_run, out))
}

/// In what ours differs from theirs, beside defaults that we write out and they do not.
fn told(ours: &Value, theirs: &Value, text: &str) -> Vec<Difference> {
    let mut found = differences(ours, theirs);
    if let Some(full) = Definition::read(text).ok().and_then(|read| read.json().ok()) {
        let real = differences(ours, &full);
        let is_real = |path: &str| real.iter().any(|difference| difference.path == path);
        found.retain(|one| !one.theirs.is_null() || is_real(&one.path));
    }
    found
}

/// An answer that refuses what was sent; other failures are no fault of the definition.
fn refused(failure: Failure) -> Result<String, Failure> {
    match failure.exit {
        Exit::Refused | Exit::NotFound => Ok(failure.message),
        _ => Err(failure),
    }
}

fn import(here: &Client, kind: Kind, text: &str, options: &ImportOptions) -> Result<Line, Failure> {
    let named: Named = serde_json::from_str(text).unwrap_or_default();
    let version = (kind == Kind::Workflow).then(|| named.version.unwrap_or(1));
    let line = |verdict, reason: Option<String>, differences| Line {
        kind,
        name: named.name.clone(),
        version,
        verdict,
        reason,
        differences,
    };
    let theirs: Value = match serde_json::from_str(text) {
        Ok(theirs) => theirs,
        Err(error) => {
            return Ok(line(
                Verdict::Refused,
                Some(format!("cannot be read: {error}")),
                Vec::new(),
            ));
        }
    };
    let before = find(here, kind, &named)?;
    if let Some(ours) = &before {
        let found = told(ours, &theirs, text);
        if found.is_empty() {
            return Ok(line(Verdict::Same, None, found));
        }
        if !options.overwrite {
            return Ok(line(Verdict::Kept, None, found));
        }
    }
    if options.dry_run {
        let checked = match kind {
            Kind::Workflow => {
                let path = "/api/metadata/workflow/validate";
                here.send(&Method::POST, path, Some(text)).map(drop)
            }
            Kind::Task | Kind::Handler => Ok(()),
        };
        return match checked {
            Ok(()) => Ok(line(Verdict::Registered, None, Vec::new())),
            Err(failure) => Ok(line(Verdict::Refused, Some(refused(failure)?), Vec::new())),
        };
    }
    if let Err(failure) = register(here, kind, text, before.is_some()) {
        return Ok(line(Verdict::Refused, Some(refused(failure)?), Vec::new()));
    }
    let ours = find(here, kind, &named)?.unwrap_or_default();
    Ok(line(Verdict::Registered, None, told(&ours, &theirs, text)))
}

fn register(here: &Client, kind: Kind, text: &str, over: bool) -> Result<(), Failure> {
    let sent = match kind {
        Kind::Task => here.send(&Method::POST, kind.list(), Some(&format!("[{text}]"))),
        Kind::Workflow => {
            here.send(&Method::POST, "/api/metadata/workflow?overwrite=true", Some(text))
        }
        Kind::Handler => {
            let method = if over { Method::PUT } else { Method::POST };
            here.send(&method, kind.list(), Some(text))
        }
    };
    sent.map(drop)
}

/// What is here under this name.
fn find(here: &Client, kind: Kind, named: &Named) -> Result<Option<Value>, Failure> {
    let name = segment(&named.name);
    let found = match kind {
        Kind::Task => here.get(&format!("/api/metadata/taskdefs/{name}")),
        Kind::Workflow => {
            let query = Query::new(format!("/api/metadata/workflow/{name}"));
            here.get(query.with("version", named.version.unwrap_or(1)).as_str())
        }
        Kind::Handler => {
            let query = Query::new(format!("/api/event/{}", segment(&named.event)));
            here.get(query.with("activeOnly", false).as_str()).map(|all| {
                let mut all = all.as_array().cloned().unwrap_or_default();
                all.retain(|one| one.get("name").and_then(Value::as_str) == Some(&named.name));
                all.pop().unwrap_or_default()
            })
        }
    };
    match found {
        Ok(Value::Null) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn report(lines: &[Line], dry_run: bool, out: Out) -> Exit {
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let counts = json!({
        "registered": count(Verdict::Registered),
        "same": count(Verdict::Same),
        "kept": count(Verdict::Kept),
        "refused": count(Verdict::Refused),
        "differing": lines.iter().filter(|line| !line.differences.is_empty()).count(),
    });
    let shown = json!({ "dryRun": dry_run, "counts": counts, "definitions": lines });
    out.answer(&shown, |out| {
        let mut table = Table::new(&["WHAT", "NAME", "VERSION", "VERDICT", "WHY"]);
        for line in lines {
            let version = line.version.map(|version| version.to_string()).unwrap_or_default();
            let why = line.reason.clone().unwrap_or_else(|| match line.differences.len() {
                0 => String::new(),
                n => format!("differs in {n} places"),
            });
            let (kind, verdict) = (line.kind.as_str().to_owned(), line.verdict.as_str().to_owned());
            table.row([kind, line.name.clone(), version, verdict, why]);
        }
        out.table(&table);
        for line in lines.iter().filter(|line| !line.differences.is_empty()) {
            out.line(&format!("{} {}:", line.kind.as_str(), line.name));
            for one in &line.differences {
                out.line(&format!("  {}: {} here, {} there", one.path, one.ours, one.theirs));
            }
        }
    });
    let all_there = lines.iter().all(|line| {
        matches!(line.verdict, Verdict::Registered | Verdict::Same) && line.differences.is_empty()
    });
    if all_there { Exit::Done } else { Exit::Negative }
}
