//! `${…}` templates, with the rules of Conductor's expression reader.
//!
//! A template is parsed once and then evaluated against a [`Scope`]. A text that is one
//! expression gives the value with its type; in a longer text values are written as Java writes
//! them. `$${` stands for `${`; expressions may stand in expressions, the inner ones are read
//! first; what is missing is null. Data is never parsed as a template again. Environment
//! variables cannot be read, other than in Conductor. `${workflow.secrets.…}` stays as it is, also
//! in what is resolved: see [`TaskInput::fill`].

mod compile;
mod java_text;
mod meter;
mod path;
mod place;
mod resolve;
mod secret;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::Display;

use serde_json::{Map, Value};

use self::compile::{Compiler, Node};
pub(super) use self::compile::{Site, SiteReads};
use self::meter::Meter;
use self::secret::Secrets;
use super::payload::{Payload, PayloadFault};
use super::scope::{Reads, Scope};

/// Most inputs have fewer bytes.
const WRITTEN_ROOM: usize = 256;

/// A value with `${…}` expressions, parsed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    node: Node,
    reads: Reads,
}

/// Why a template cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
#[non_exhaustive]
pub struct TemplateFault {
    /// Where in the value, as a JSON path.
    pub path: String,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl Template {
    /// Parses the expressions in every text of a value. Keys of objects are no templates.
    ///
    /// # Errors
    /// The first expression that cannot be read, or nesting over the limit.
    pub fn parse(value: &Value) -> Result<Self, TemplateFault> {
        let mut compiler = Compiler::new("$");
        let node = compiler.node(value, 0);
        match compiler.faults.into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(Self { node, reads: compiler.reads }),
        }
    }

    /// The value with every expression replaced by what it reads; `what` is its name in an error.
    ///
    /// # Errors
    /// Its JSON text would have more than about `limit_bytes`, which is found before much more
    /// than that is allocated; or the expressions look at too many values.
    pub fn resolve(
        &self,
        scope: &dyn Scope,
        what: impl Display,
        limit_bytes: usize,
    ) -> Result<Value, PayloadFault> {
        let found = self.node.resolve(scope, &mut Meter::new(limit_bytes));
        found.map_err(|much| much.fault(what.to_string(), limit_bytes))
    }

    /// As [`resolve`](Self::resolve), as JSON text: what is read is copied nowhere else.
    fn write(
        &self,
        scope: &dyn Scope,
        what: impl Display,
        limit_bytes: usize,
    ) -> Result<Payload, PayloadFault> {
        let mut json = Vec::with_capacity(WRITTEN_ROOM);
        let written = self.node.write(scope, &mut Meter::new(limit_bytes), &mut json);
        written.map_err(|much| much.fault(what.to_string(), limit_bytes))?;
        // What serde_json writes is UTF-8.
        let json = String::from_utf8(json)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Payload::of_json(json))
    }

    /// What the expressions read.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }
}

/// A value as Java writes it, which is how Conductor splices it into a text and shows it in
/// summaries: `{a={b=[1, x]}}`.
#[must_use]
pub fn java_text(value: &Value) -> String {
    let mut text = String::new();
    let Ok(()) = java_text::push::<Infallible>(value, &mut |piece| {
        text.push_str(piece);
        Ok(())
    });
    text
}

/// Every expression of a value and every fault in it; `path` is the value's JSON path.
pub(super) fn survey(value: &Value, path: &str) -> (Vec<Site>, Vec<TemplateFault>) {
    let mut compiler = Compiler::new(path);
    compiler.node(value, 0);
    (compiler.sites, compiler.faults)
}

/// How a task's input is made: the step's `inputParameters`, with the task definition's
/// `inputTemplate` where a key is absent or comes out as null.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInput {
    template: Template,
    input_template: Map<String, Value>,
    /// Data that is taken as it is, before all else.
    literal: Map<String, Value>,
    secrets: Secrets,
}

impl TaskInput {
    /// Parses both.
    ///
    /// # Errors
    /// The first expression that cannot be read, or nesting over the limit.
    pub fn parse(
        input_parameters: &Map<String, Value>,
        input_template: &Map<String, Value>,
    ) -> Result<Self, TemplateFault> {
        let mut merged = input_template.clone();
        merged.extend(input_parameters.clone());
        let template = Template::parse(&Value::Object(merged))?;
        let secrets = Secrets::of(&template.node, input_parameters, input_template)?;
        let (input_template, literal) = (input_template.clone(), Map::new());
        Ok(Self { template, input_template, literal, secrets })
    }

    /// With these keys as they are: data is never read as an expression.
    pub(crate) fn with_literal(mut self, literal: Map<String, Value>) -> Self {
        self.literal = literal;
        self
    }

    /// The task's input. A key that comes out as null gets the template's value as it is
    /// written there, with expressions unread, as in Conductor.
    ///
    /// # Errors
    /// As [`Template::resolve`].
    pub fn resolve(
        &self,
        scope: &dyn Scope,
        what: impl Display,
        limit_bytes: usize,
    ) -> Result<Map<String, Value>, PayloadFault> {
        let mut input = match self.template.resolve(scope, what, limit_bytes)? {
            Value::Object(input) => input,
            _ => Map::new(),
        };
        for (key, value) in &mut input {
            if value.is_null()
                && let Some(default) = self.input_template.get(key)
            {
                *value = default.clone();
            }
        }
        input.extend(self.literal.clone());
        Ok(input)
    }

    /// As [`resolve`](Self::resolve), as JSON text. None where that has to look at what came out.
    pub(crate) fn write(
        &self,
        scope: &dyn Scope,
        what: impl Display,
        limit_bytes: usize,
    ) -> Option<Result<Payload, PayloadFault>> {
        if !self.input_template.is_empty() || !self.literal.is_empty() {
            return None;
        }
        Some(self.template.write(scope, what, limit_bytes))
    }

    /// What the expressions read.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        self.template.reads()
    }
}
