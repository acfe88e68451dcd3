//! jq, with limits: nothing of the machine is in reach, and no query outlasts its budget.
//!
//! The interpreter recurses, so each evaluation has a thread of its own, whose stack is known.

mod budget;
mod math;
mod natives;
mod program;
mod regex;
#[cfg(test)]
mod tests;
mod traits;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use self::budget::{Limits, Spent};
use self::value::Val;
use super::ScriptError;

const LIMITS: Limits =
    Limits { steps: 20_000_000, bytes: 256 * 1024 * 1024, stack: 16 * 1024 * 1024 };

/// The stack of an evaluation's thread, in bytes; what is not used takes no memory.
const STACK: usize = 512 * 1024 * 1024;

/// What is kept of an error, in characters.
const REASON_MAX: usize = 1_000;

/// See [`super::evaluate_jq`].
pub(super) fn evaluate(query: &str, input: &Value) -> Result<Vec<Value>, ScriptError> {
    within(LIMITS, query, input)
}

/// See [`super::check_jq`].
pub(super) fn check(query: &str) -> Result<(), ScriptError> {
    apart(LIMITS, || program::compile(query).map(drop))
}

fn within(limits: Limits, query: &str, input: &Value) -> Result<Vec<Value>, ScriptError> {
    apart(limits, || {
        let program = program::compile(query)?;
        let values = program::run(&program, Val::read(input));
        let values = values.map(|value| value.map(|value| value.write()));
        values.collect::<Result<_, _>>().map_err(|error| ScriptError::Failed(cut(&error)))
    })
}

/// Does something on a thread of its own, within limits.
fn apart<T: Send>(
    limits: Limits,
    work: impl FnOnce() -> Result<T, ScriptError> + Send,
) -> Result<T, ScriptError> {
    if cfg!(not(panic = "unwind")) {
        let why = "jq needs a program that is built with panic = \"unwind\"";
        return Err(ScriptError::Failed(why.to_owned()));
    }
    let bounded = || {
        budget::open(limits);
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|thrown| {
            Err(match thrown.downcast_ref::<Spent>() {
                Some(spent) => ScriptError::Limit(spent.text().to_owned()),
                None => ScriptError::Failed("the interpreter gave up on the query".to_owned()),
            })
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("oms-jq".to_owned()).stack_size(STACK);
        let no_thread = |why: String| ScriptError::Failed(format!("jq has no thread: {why}"));
        let thread = thread.spawn_scoped(scope, bounded).map_err(|e| no_thread(e.to_string()))?;
        thread.join().unwrap_or_else(|_| Err(no_thread("it ended".to_owned())))
    })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
