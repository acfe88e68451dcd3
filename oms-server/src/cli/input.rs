//! What is given on the command line or named there.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{Exit, Failure};

/// A text: itself, of a file (`@name`), or of stdin (`-`).
pub(super) fn given(text: &str) -> Result<String, Failure> {
    match text.strip_prefix('@') {
        Some(path) => file(Path::new(path)),
        None if text == "-" => stdin(),
        None => Ok(text.to_owned()),
    }
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::failed("stdin cannot be read", error))?;
    Ok(text)
}

/// Asks whoever sits there. What is not plainly yes is no.
pub(super) fn is_sure(question: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(
            Failure::usage("nobody can be asked here whether it is meant").hint("say --yes")
        );
    }
    let failed = |error| Failure::failed("nobody could be asked", error);
    let mut stderr = anstream::stderr().lock();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    stdin.read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A file; `-` is stdin.
pub(super) fn file(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return stdin();
    }
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::NotFound, format!("{} cannot be read: {error}", path.display()))
    })
}

/// An object in JSON, given as [`given`] says.
pub(super) fn object(option: &str, text: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(&given(text)?)
        .map_err(|error| Failure::usage(format!("{option}: no JSON: {error}")))?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::usage(format!("{option}: give a JSON object, such as '{{\"key\": 1}}'")))
}

/// The values of a file that holds one or a list of them, each as its text.
pub(super) fn values(path: &Path) -> Result<Vec<Box<RawValue>>, Failure> {
    let text = file(path)?;
    let read = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text)
    } else {
        serde_json::from_str(&text).map(|one| vec![one])
    };
    read.map_err(|error| {
        Failure::new(Exit::Refused, format!("{}: no JSON: {error}", path.display()))
    })
}
