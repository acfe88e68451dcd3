//! Scripts that stand in definitions, each language behind a feature of its own.
//!
//! What is switched off is refused when a definition is registered, and is an error here.

#[cfg(feature = "js")]
mod js;

use serde_json::Value;

/// Why a script gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScriptError {
    /// The language is not compiled in.
    #[cfg_attr(feature = "js", expect(dead_code, reason = "of builds without it"))]
    #[error("{language} is switched off: build oms-engine with the cargo feature `{feature}`")]
    Off { language: &'static str, feature: &'static str },
    /// It cannot be read.
    #[cfg_attr(not(feature = "js"), expect(dead_code, reason = "of builds with a language"))]
    #[error("{0}")]
    Syntax(String),
    /// It threw, or what it gave is no JSON.
    #[cfg_attr(not(feature = "js"), expect(dead_code, reason = "of builds with a language"))]
    #[error("{0}")]
    Failed(String),
    /// It used up its steps, or its memory.
    #[cfg_attr(not(feature = "js"), expect(dead_code, reason = "of builds with a language"))]
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

/// The body of a function as an expression.
pub(crate) fn body_as_expression(body: &str) -> String {
    format!("(function () {{\n{body}\n}})()")
}
