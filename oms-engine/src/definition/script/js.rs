//! JavaScript in a sandbox: the language alone, no machine, no clock that the limits depend on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rquickjs::context::EvalOptions;
use rquickjs::{Context, Ctx, Error, Runtime};
use serde_json::Value;

use super::ScriptError;

/// Memory that a script may use, in bytes.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Stack that a script may use, in bytes; a thread has at least two mebibytes.
const STACK_MAX: usize = 256 * 1024;
/// How often a script may be asked whether to go on. The interpreter asks every ten thousand
/// jumps and calls, so that this is some seconds of work, the same on every machine.
const ASKED_MAX: u32 = 10_000;

/// See [`super::evaluate_js`]. Integers stay integers; `undefined`, functions and numbers that
/// JSON does not have become null.
pub(super) fn evaluate(source: &str, input: &Value) -> Result<Value, ScriptError> {
    let text = serde_json::to_string(input).map_err(failed)?;
    in_sandbox(|ctx| {
        let input = ctx.json_parse(text)?;
        ctx.globals().set("$", input)?;
        let value: rquickjs::Value<'_> = ctx.eval_with_options(source, options())?;
        match ctx.json_stringify(value)? {
            Some(text) => text.to_string().map(Some),
            None => Ok(None),
        }
    })
    .and_then(|text| match text {
        Some(text) => serde_json::from_str(&text).map_err(failed),
        None => Ok(Value::Null),
    })
}

/// See [`super::check_js`].
pub(super) fn check(source: &str) -> Result<(), ScriptError> {
    // Made a function, it is read and not run.
    let unread = format!("(function () {{\n{source}\n}})");
    in_sandbox(|ctx| ctx.eval_with_options::<rquickjs::Value<'_>, _>(unread, options()).map(drop))
        .map_err(|error| match error {
            ScriptError::Failed(reason) => ScriptError::Syntax(reason),
            other => other,
        })
}

fn options() -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options
}

/// Runs something in a runtime of its own: nothing is left over from one script to the next.
fn in_sandbox<T>(
    run: impl for<'js> FnOnce(&Ctx<'js>) -> Result<T, Error>,
) -> Result<T, ScriptError> {
    let runtime = Runtime::new().map_err(failed)?;
    runtime.set_memory_limit(MEMORY_MAX);
    runtime.set_max_stack_size(STACK_MAX);
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed) >= ASKED_MAX
    })));
    let context = Context::full(&runtime).map_err(failed)?;
    context.with(|ctx| {
        run(&ctx).map_err(|error| {
            if asked.load(Ordering::Relaxed) > ASKED_MAX {
                return ScriptError::Limit("the script takes too many steps".to_owned());
            }
            explain(&ctx, error)
        })
    })
}

fn explain(ctx: &Ctx<'_>, error: Error) -> ScriptError {
    if !matches!(error, Error::Exception) {
        return failed(error);
    }
    let thrown = ctx.catch();
    let text = match thrown.as_exception() {
        Some(exception) => {
            let name: Option<String> = exception.get("name").ok();
            let message = exception.message().unwrap_or_default();
            name.map_or_else(|| message.clone(), |name| format!("{name}: {message}"))
        }
        None => match ctx.json_stringify(thrown) {
            Ok(Some(text)) => text.to_string().unwrap_or_default(),
            _ => "the script threw".to_owned(),
        },
    };
    if text.contains("out of memory") || text.contains("stack overflow") {
        return ScriptError::Limit(text);
    }
    ScriptError::Failed(text)
}

fn failed(error: impl std::fmt::Display) -> ScriptError {
    ScriptError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_value_is_the_result_with_its_type() {
        let input = json!({ "a": 2, "list": [1, 2.5], "text": "x" });
        let table = [
            ("$.a + 1", json!(3)),
            ("$.a / 4", json!(0.5)),
            ("$.list.map(n => n * 2)", json!([2, 5])),
            ("$.text + $.a", json!("x2")),
            ("(function () { return { b: $.a }; })()", json!({ "b": 2 })),
            ("if ($.a > 1) { 'big' } else { 'small' }", json!("big")),
            ("undefined", Value::Null),
            ("0 / 0", Value::Null),
            ("counter = 1; counter + 1", json!(2)),
        ];
        for (source, result) in table {
            assert_eq!(evaluate(source, &input), Ok(result), "{source}");
        }
    }

    #[test]
    fn what_a_script_throws_is_its_error() {
        let error = evaluate("$.nothing.at.all", &json!({})).expect_err("it throws");
        assert!(matches!(&error, ScriptError::Failed(text) if text.starts_with("TypeError")));
        let error = evaluate("throw new Error('no stock')", &json!({})).expect_err("it throws");
        assert_eq!(error, ScriptError::Failed("Error: no stock".to_owned()));
        assert!(evaluate("1 +", &json!({})).is_err());
    }

    #[test]
    fn a_script_that_does_not_end_or_takes_all_memory_or_stack_is_stopped() {
        let endless = [
            "while (true) {}",
            "let a = []; while (true) { a.push(new Array(1000).fill(1)); }",
            "(function f() { return f(); })()",
            "'x'.repeat(1e9)",
        ];
        for source in endless {
            let error = evaluate(source, &json!({})).expect_err(source);
            assert!(matches!(error, ScriptError::Limit(_) | ScriptError::Failed(_)), "{error}");
        }
    }

    #[test]
    fn nothing_of_the_machine_is_in_reach_and_nothing_is_left_over() {
        for name in ["require", "process", "std", "os", "console", "fetch", "globalThis.left"] {
            let found = evaluate(&format!("typeof {name}"), &json!({}));
            assert_eq!(found, Ok(json!("undefined")), "{name}");
        }
        evaluate("globalThis.left = 1; Object.prototype.left = 1", &json!({})).expect("it runs");
        assert_eq!(
            evaluate("typeof left + typeof ({}).left", &json!({})),
            Ok(json!("undefinedundefined"))
        );
    }

    #[test]
    fn a_check_reads_a_script_and_does_not_run_it() {
        assert_eq!(check("while (true) {}"), Ok(()));
        assert_eq!(check("return $.a;"), Ok(()));
        assert!(matches!(check("$.a +"), Err(ScriptError::Syntax(_))));
    }
}
