//! What a task is handed beside what is stored of it: the values of its secrets.
//!
//! They are looked up when a worker gets the task, stand in a copy of its input that nobody else
//! sees, and are taken out of what the engine says about the attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Map, Value};

use super::TaskError;
use super::secrets::{ErasedProvider, SecretValue};
use crate::decide::Node;
use crate::definition::Payload;
use crate::queue::HandedOut;

/// What stands for a value that was taken out.
const HIDDEN: &str = "***";
/// Bytes of what is taken out: less is no secret, and stands in too many words.
const HIDDEN_MIN: usize = 4;

/// Where the values come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) provider: Option<Arc<dyn ErasedProvider>>,
    /// What expressions read of the engine.
    pub(crate) env: Arc<Map<String, Value>>,
    /// For the secrets of one task.
    pub(crate) deadline: Duration,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.provider.is_some();
        f.debug_struct("Sources").field("provider", &provider).finish_non_exhaustive()
    }
}

/// What a task is handed. It has no `Debug`.
pub(crate) struct Given {
    pub(crate) input: Payload,
    /// What its definition's `runtimeMetadata` names.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) hidden: Hidden,
}

impl Given {
    /// What a task is handed for which nothing has to be looked up; none for others.
    pub(crate) fn at_once(task: &HandedOut) -> Option<Self> {
        asking(task).is_none().then(|| Self::plain(task))
    }

    fn plain(task: &HandedOut) -> Self {
        Self { input: task.input.clone(), metadata: BTreeMap::new(), hidden: Hidden::default() }
    }
}

impl Sources {
    /// What a task is handed.
    ///
    /// # Errors
    /// The attempt's end, where a value cannot be had; it names the secret and no value.
    pub(crate) async fn give(&self, task: &HandedOut) -> Result<Given, TaskError> {
        let Some(node) = asking(task) else { return Ok(Given::plain(task)) };
        let looked_up = AssertUnwindSafe(self.look_up(node)).catch_unwind();
        let found = match tokio::time::timeout(self.deadline, looked_up).await {
            Ok(Ok(found)) => found?,
            Ok(Err(_)) => return Err(TaskError::retry("the secrets provider panicked")),
            Err(_) => {
                let seconds = self.deadline.as_secs_f64();
                let reason = format!("the secrets provider gave no answer within {seconds} s");
                return Err(TaskError::retry(reason));
            }
        };
        let input = node.input.fill(&task.input, &found.values).map_err(TaskError::terminal)?;
        let hidden = Hidden::of(found.values.into_values());
        Ok(Given { input: input.into(), metadata: found.metadata, hidden })
    }

    async fn look_up(&self, node: &Node) -> Result<Found, TaskError> {
        let Found { mut values, mut metadata } = Found::default();
        for name in node.input.secrets() {
            match self.secret(name).await? {
                Some(value) => values.insert(name.clone(), value.into_text()),
                None if self.provider.is_none() => {
                    return Err(TaskError::terminal(format!(
                        "it needs secret {name:?}, and this engine has no secrets provider: give \
                         it one with EngineBuilder::secrets"
                    )));
                }
                None => return Err(TaskError::terminal(format!("there is no secret {name:?}"))),
            };
        }
        for name in node.runtime_metadata.iter() {
            if !values.contains_key(name)
                && let Some(value) = self.secret(name).await?
            {
                values.insert(name.clone(), value.into_text());
            }
            let secret = values.get(name).cloned();
            let value = secret.or_else(|| self.env.get(name).map(text_of));
            let value = value.ok_or_else(|| {
                TaskError::terminal(format!(
                    "runtimeMetadata names {name:?}, which is no secret and no value of the \
                     environment here"
                ))
            })?;
            metadata.insert(name.clone(), value);
        }
        Ok(Found { values, metadata })
    }

    async fn secret(&self, name: &str) -> Result<Option<SecretValue>, TaskError> {
        let Some(provider) = &self.provider else { return Ok(None) };
        provider.secret(name).await.map_err(|error| {
            tracing::warn!(%error, name, "a secret could not be had");
            TaskError::retry(format!("secret {name:?} could not be had"))
        })
    }
}

/// Values by name: of secrets, and of what goes along with the task.
#[derive(Default)]
struct Found {
    values: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

/// The step of a task for which values have to be looked up.
fn asking(task: &HandedOut) -> Option<&Arc<Node>> {
    let node = task.run.node(&task.token.reference_name)?;
    (!node.input.secrets().is_empty() || !node.runtime_metadata.is_empty()).then_some(node)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What must not be said: values of secrets, longest first.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Vec<String>);

impl Hidden {
    /// What may come up of values: they themselves, and what is inside one that is JSON.
    fn of(values: impl Iterator<Item = String>) -> Self {
        let mut hidden = Vec::new();
        for value in values {
            let inside = serde_json::from_str(&value).unwrap_or_default();
            add(&mut hidden, &value);
            let mut rest: Vec<Value> = vec![inside];
            while let Some(value) = rest.pop() {
                match value {
                    Value::String(text) => add(&mut hidden, &text),
                    Value::Number(number) => add(&mut hidden, &number.to_string()),
                    Value::Array(list) => rest.extend(list),
                    Value::Object(map) => rest.extend(map.into_iter().map(|(_, value)| value)),
                    Value::Null | Value::Bool(_) => {}
                }
            }
        }
        hidden.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        hidden.dedup();
        Self(hidden)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text without them.
    pub(crate) fn out_of(&self, text: String) -> String {
        self.0.iter().fold(text, |text, hidden| {
            if text.contains(hidden) { text.replace(hidden, HIDDEN) } else { text }
        })
    }

    /// A value without them, also in its keys.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn out_of_value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.out_of(text)),
            Value::Number(number) if self.0.contains(&number.to_string()) => Value::from(HIDDEN),
            Value::Array(list) => list.into_iter().map(|item| self.out_of_value(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, item)| (self.out_of(key), self.out_of_value(item)))
                .collect(),
            plain => plain,
        }
    }
}

/// As it is, and as messages quote it: as Rust does, and as JSON does.
fn add(hidden: &mut Vec<String>, text: &str) {
    if text.len() < HIDDEN_MIN {
        return;
    }
    let json = Value::from(text).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    hidden.extend([text.to_owned(), text.escape_debug().to_string(), json]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hidden(values: &[&str]) -> Hidden {
        Hidden::of(values.iter().map(|value| (*value).to_owned()))
    }

    #[test]
    fn values_are_taken_out_however_a_message_quotes_them() {
        let hidden = hidden(&["a \"b\"\nc", "hunter2", "hunter22"]);
        for (said, left) in [
            ("plain a \"b\"\nc.".to_owned(), "plain ***."),
            (format!("rust {:?}", "a \"b\"\nc"), "rust \"***\""),
            (json!({"json": "a \"b\"\nc"}).to_string(), "{\"json\":\"***\"}"),
            ("hunter22 and hunter2".to_owned(), "*** and ***"),
        ] {
            assert_eq!(hidden.out_of(said), left);
        }
    }

    #[test]
    fn what_is_inside_a_value_of_json_is_taken_out_too_but_not_what_is_too_short_to_be_told() {
        let hidden = hidden(&["{\"user\": \"u\", \"pin\": 482913, \"of\": [\"longer\"]}"]);
        let said = json!({"a": "u", "482913": 1, "n": 482913, "list": ["so longer", true]});
        let left = json!({"a": "u", "***": 1, "n": "***", "list": ["so ***", true]});
        assert_eq!(hidden.out_of_value(said), left);
    }
}
