//! The architecture, held to by reading the source: who imports whom, where SQL may stand, how
//! long a file may be, and what the library may depend on.

#![expect(clippy::expect_used, reason = "test helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module imports only what stands to its left; equals import each other.
const LAYERS: [&[&str]; 10] = [
    FIRST,
    &["definition"],
    &["decide"],
    &["store"],
    &["advance"],
    &["queue"],
    &["worker"],
    &["maintain"],
    &["engine"],
    &["testkit"],
];

const FIRST: &[&str] = &["ids", "id_map", "clock", "config", "error", "telemetry"];

/// Beside the layers: a server on hand for programs and tests.
const EMBEDDED: &str = "embedded";

/// The one public error names what lies to its right: the faults of a definition, how a database
/// error is described, and the embedded server's errors.
const EXCEPTIONS: [(&str, &str); 3] =
    [("error", "definition"), ("error", "store"), ("error", EMBEDDED)];

/// What the pure modules must not touch. Their only outside world is ids and errors.
const IMPURE: [&str; 13] = [
    "tokio",
    "tokio_postgres",
    "deadpool_postgres",
    "futures_util",
    "Utc::now",
    "chrono::Local",
    "Local",
    "rand",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::env",
    "std::thread",
    "tracing",
];

/// A thread of known stack, waited for: jq's interpreter and what walks a deep definition recurse,
/// and nothing else comes of it.
const HAVE_A_STACK: [&str; 2] = ["src/definition/script/jq/", "src/definition/nesting.rs"];

/// Crates that speak HTTP or parse a command line.
const HTTP_AND_CLI: [&str; 16] = [
    "actix-web",
    "argh",
    "axum",
    "clap",
    "hyper",
    "indicatif",
    "isahc",
    "pico-args",
    "poem",
    "reqwest",
    "rocket",
    "structopt",
    "tiny_http",
    "tonic",
    "ureq",
    "warp",
];

const LINES_MAX: usize = 400;

struct Source {
    /// From the crate's root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The first part of the path in `src/`: the module that the file belongs to.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let module = inside.split('/').next()?;
        Some(module.strip_suffix(".rs").unwrap_or(module))
    }

    /// Lines without comments, with their numbers. Good enough for our own formatting: a comment
    /// after code keeps its place, and a text that holds `//` loses its end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(number, line)| (number + 1, line));
        lines
            .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
            .filter(|(_, line)| !line.trim().is_empty())
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    gather(&root().join(folder), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn gather(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let path = path.strip_prefix(root()).expect("inside the crate");
            let path = path.to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

fn may_import(from: &str, to: &str) -> bool {
    if from == to || EXCEPTIONS.contains(&(from, to)) {
        return true;
    }
    if matches!(from, "definition" | "decide") && matches!(to, "clock" | "config" | "telemetry") {
        return false;
    }
    if from == EMBEDDED {
        return FIRST.contains(&to);
    }
    if to == EMBEDDED {
        return from == "testkit";
    }
    match (layer(from), layer(to)) {
        (Some(from), Some(to)) => to < from || (from == 0 && to == 0),
        _ => false,
    }
}

/// Modules of this crate that a line names as `crate::module`, also in `use crate::{a, b::C}`,
/// or by as many `super::` as lead out of its own module.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    let code: Vec<(usize, &str)> = source.code().collect();
    for (at, (number, line)) in code.iter().enumerate() {
        for prefix in ["crate::", up.as_str()] {
            for (position, _) in line.match_indices(prefix) {
                let before = line.get(..position).unwrap_or_default();
                if before.ends_with(is_path) {
                    continue;
                }
                let rest = line.get(position + prefix.len()..).unwrap_or_default();
                let after = code.iter().skip(at + 1).map(|(_, line)| *line);
                let heads = if rest.starts_with('{') {
                    group_heads(&std::iter::once(rest).chain(after).collect::<String>())
                } else {
                    vec![head(rest)]
                };
                // `super` of a module in the file is the file's own.
                let ours = |name: &String| prefix == "crate::" || layer(name).is_some();
                found.extend(heads.into_iter().filter(ours).map(|name| (*number, name)));
            }
        }
    }
    found
}

fn head(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names of `{a::b, c::{d, e}}`.
fn group_heads(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut heads = Vec::new();
    for (position, c) in text.char_indices() {
        let begins = match c {
            '{' => {
                depth += 1;
                depth == 1
            }
            '}' if depth <= 1 => break,
            '}' => {
                depth -= 1;
                false
            }
            ',' => depth == 1,
            _ => false,
        };
        if begins {
            let name = head(text.get(position + 1..).unwrap_or_default().trim_start());
            if !name.is_empty() {
                heads.push(name);
            }
        }
    }
    heads
}

/// What `lib.rs` gives out under its own name, as `crate::Name`: from which module.
fn reexports() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let mut names = BTreeMap::new();
    for (_, after) in text.split("pub use ").enumerate().skip(1) {
        let statement = after.split(';').next().unwrap_or_default();
        let Some((module, items)) = statement.split_once("::") else { continue };
        let items = items.trim_matches(|c| c == '{' || c == '}');
        for item in items.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            names.insert(item.to_owned(), module.trim().to_owned());
        }
    }
    names
}

#[test]
fn modules_import_only_what_stands_to_their_left() {
    let reexports = reexports();
    let mut wrong = Vec::new();
    let mut edges = BTreeSet::new();
    for source in sources("src") {
        let from = source.module().expect("a file of src").to_owned();
        if from == "lib" {
            continue;
        }
        assert!(
            from == EMBEDDED || layer(&from).is_some(),
            "{}: module {from} has no place in LAYERS",
            source.path
        );
        for (line, name) in imports(&source) {
            let to = reexports.get(&name).cloned().unwrap_or(name);
            if !may_import(&from, &to) {
                wrong.push(format!("{}:{line}: {from} imports {to}", source.path));
            }
            edges.insert((from.clone(), to));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // The reader sees imports at all.
    for (from, to) in [("decide", "definition"), ("advance", "decide"), ("store", "error")] {
        assert!(edges.contains(&(from.to_owned(), to.to_owned())), "{from} imports {to}");
    }
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let text = "use crate::store::Store;\nuse crate::{\n    ids::WorkflowId, queue::{Wakes, Slots},\n};\n\
                // crate::engine\nfn f(x: crate::worker::Task) {} // crate::engine\nuse mycrate::engine;\n\
                use super::maintain::x; use super::super::engine::y; use super::take::z;";
    let source = Source { path: "src/advance/mod.rs".to_owned(), text: text.to_owned() };
    let seen: Vec<String> = imports(&source).into_iter().map(|(_, name)| name).collect();
    assert_eq!(seen, ["store", "ids", "queue", "worker", "maintain"]);
    let allowed: Vec<bool> = seen.iter().map(|to| may_import("advance", to)).collect();
    assert_eq!(allowed, [true, true, false, false, false]);
}

#[test]
fn definition_and_decide_know_no_clock_no_chance_no_database_and_no_async() {
    let mut wrong = Vec::new();
    let pure = |source: &Source| matches!(source.module(), Some("definition" | "decide"));
    let pure: Vec<Source> = sources("src").into_iter().filter(pure).collect();
    assert!(pure.len() > 15, "{} files", pure.len());
    for source in pure {
        for (number, line) in source.code() {
            let words: BTreeSet<&str> = line.split(|c: char| !is_path(c)).collect();
            let impure = IMPURE.iter().filter(|name| {
                words.iter().any(|word| {
                    word.strip_prefix(**name)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                })
            });
            let is_async = ["async", "await"].into_iter().filter(|word| {
                words.iter().any(|found| found.split("::").any(|part| part == *word))
            });
            // A test may ask whether to print its page anew, and where the page is, and have a
            // thread with a small stack.
            let in_tests = source.path.contains("/tests/");
            for name in impure.copied().chain(is_async) {
                let allowed = (in_tests && ["std::env", "std::thread"].contains(&name))
                    || (name == "std::thread"
                        && HAVE_A_STACK.iter().any(|of| source.path.starts_with(of)));
                if !allowed {
                    wrong.push(format!("{}:{number}: {name}", source.path));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

#[test]
fn sql_stands_in_the_store_alone() {
    const STATEMENTS: [&str; 13] = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "TRUNCATE ",
        "CREATE ",
        "ALTER ",
        "DROP ",
        "LOCK TABLE ",
        "WITH ",
        "NOTIFY ",
        "SET LOCAL ",
        "LISTEN ",
    ];
    let mut wrong = Vec::new();
    for source in sources("src") {
        if matches!(source.module(), Some("store" | "testkit" | "embedded")) {
            continue;
        }
        for (number, line) in source.code() {
            if STATEMENTS.iter().any(|sql| line.contains(&format!("\"{sql}")))
                || line.contains("{schema}.")
            {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_file_is_longer_than_its_subject() {
    let mut long = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines} lines, {LINES_MAX} are allowed", source.path));
        }
    }
    assert_eq!(long, Vec::<String>::new());
}

/// `[dependencies]` of this crate: name and whether it is optional.
fn dependencies(manifest: &str) -> BTreeMap<String, bool> {
    let mut section = "";
    let mut found = BTreeMap::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some((name, value)) = line.split_once('=')
        {
            let name = name.trim().split('.').next().unwrap_or_default();
            found.insert(name.to_owned(), value.contains("optional = true"));
        }
    }
    found
}

#[test]
fn the_library_needs_no_http_and_no_command_line_crate() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let dependencies = dependencies(&manifest);
    assert_eq!(dependencies.get("tokio-postgres"), Some(&false), "the reader sees dependencies");
    assert_eq!(dependencies.get("ureq"), Some(&true));
    // The download of the embedded server is the one optional use of HTTP.
    let needed: Vec<&String> = dependencies
        .iter()
        .filter(|(name, optional)| HTTP_AND_CLI.contains(&name.as_str()) && !**optional)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(needed, Vec::<&String>::new());
    let default = manifest.lines().find(|line| line.starts_with("default = ")).expect("default");
    assert_eq!(default, "default = [\"tls\"]");
    let tls = manifest.lines().find(|line| line.starts_with("tls = ")).expect("tls");
    assert!(HTTP_AND_CLI.iter().all(|name| !tls.contains(&format!("dep:{name}\""))), "{tls}");
}
