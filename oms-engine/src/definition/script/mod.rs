//! Scripts that stand in definitions, each language behind a feature of its own.
//!
//! What is switched off is refused when a definition is registered, and is an error here.

#[cfg(feature = "jq")]
mod jq;
#[cfg(feature = "js")]
mod js;

use serde_json::Value;

/// Why a script gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScriptError {
    /// The language is not compiled in.
    #[cfg_attr(
        all(feature = "jq", feature = "js"),
        expect(dead_code, reason = "of builds without it")
    )]
    #[error("{language} is switched off: build oms-engine with the cargo feature `{feature}`")]
    Off { language: &'static str, feature: &'static str },
    /// It cannot be read.
    #[cfg_attr(
        not(any(feature = "jq", feature = "js")),
        expect(dead_code, reason = "of builds with a language")
    )]
    #[error("{0}")]
    Syntax(String),
    /// It threw, or what it gave is no JSON.
    #[cfg_attr(
        not(any(feature = "jq", feature = "js")),
        expect(dead_code, reason = "of builds with a language")
    )]
    #[error("{0}")]
    Failed(String),
    /// It used up its steps, or its memory.
    #[cfg_attr(
        not(any(feature = "jq", feature = "js")),
        expect(dead_code, reason = "of builds with a language")
    )]
    #[error("{0}")]
    Limit(String),
}

/// What a JavaScript expression gives, with `$` bound to `input`.
pub(crate) fn evaluate_js(source: &str, input: &Value) -> Result<Value, ScriptError> {
    #[cfg(feature = "js")]
    return js::evaluate(source, input);
    #[cfg(not(feature = "js"))]
    {
        let _ = (source, input);
        Err(ScriptError::Off { language: "JavaScript", feature: "js" })
    }
}

/// Whether a JavaScript expression can be read; it is not run.
pub(crate) fn check_js(source: &str) -> Result<(), ScriptError> {
    #[cfg(feature = "js")]
    return js::check(source);
    #[cfg(not(feature = "js"))]
    {
        let _ = source;
        Err(ScriptError::Off { language: "JavaScript", feature: "js" })
    }
}

/// All values that a jq query gives for an input.
pub(crate) fn evaluate_jq(query: &str, input: &Value) -> Result<Vec<Value>, ScriptError> {
    #[cfg(feature = "jq")]
    return jq::evaluate(query, input);
    #[cfg(not(feature = "jq"))]
    {
        let _ = (query, input);
        Err(ScriptError::Off { language: "jq", feature: "jq" })
    }
}

/// Whether a jq query can be read; it is not run.
pub(crate) fn check_jq(query: &str) -> Result<(), ScriptError> {
    #[cfg(feature = "jq")]
    return jq::check(query);
    #[cfg(not(feature = "jq"))]
    {
        let _ = query;
        Err(ScriptError::Off { language: "jq", feature: "jq" })
    }
}

/// The body of a function as an expression.
pub(crate) fn body_as_expression(body: &str) -> String {
    format!("(function () {{\n{body}\n}})()")
}
