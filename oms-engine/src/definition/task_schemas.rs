//! [`TaskSchemas`]: what a task's types look like in JSON.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The JSON Schemas of a task's types.
///
/// An engine that has such a task tells, when a definition is registered, of templates that cannot
/// fit them. With the feature `schema` they are derived:
///
/// ```
/// # #[cfg(feature = "schema")] {
/// use oms_engine::schemars::{self, JsonSchema};
/// use oms_engine::{Task, TaskContext, TaskError, TaskSchemas};
///
/// #[derive(serde::Deserialize, JsonSchema)]
/// struct Payment {
///     cents: u64,
/// }
///
/// struct Pay;
///
/// impl Task for Pay {
///     const NAME: &'static str = "pay";
///     type Input = Payment;
///     type Output = String;
///
///     fn schemas() -> Option<TaskSchemas> {
///         TaskSchemas::of::<Self::Input, Self::Output>()
///     }
///
///     async fn run(&self, _cx: &TaskContext, input: Payment) -> Result<String, TaskError> {
///         Ok(format!("receipt for {}", input.cents))
///     }
/// }
///
/// assert_eq!(Pay::schemas().unwrap().input["required"], serde_json::json!(["cents"]));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskSchemas {
    /// Of its input.
    pub input: Value,
    /// Of its output, before what is no object is put under the key `result`.
    pub output: Value,
}

impl TaskSchemas {
    /// Takes schemas that were written by hand.
    #[must_use]
    pub const fn new(input: Value, output: Value) -> Self {
        Self { input, output }
    }

    /// Derives the schemas of an input and an output type.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn of<I: schemars::JsonSchema, O: schemars::JsonSchema>() -> Option<Self> {
        let reads = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
        let writes = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        Some(Self {
            input: reads.into_generator().into_root_schema_for::<I>().to_value(),
            output: writes.into_generator().into_root_schema_for::<O>().to_value(),
        })
    }

    /// The schema of the output as later steps see it.
    pub(super) fn output_object(&self) -> Cow<'_, Value> {
        let other = match self.output.get("type").and_then(Value::as_str) {
            Some("object") | None => None,
            Some(_) => Some(()),
        };
        match other {
            None => Cow::Borrowed(&self.output),
            Some(()) => Cow::Owned(json!({
                "type": "object",
                "properties": { "result": self.output },
                "additionalProperties": false,
            })),
        }
    }
}
