//! The linear five: five tasks one after the other that do nothing, with an input of 200 bytes
//! and outputs of 50. A worker reads its input from JSON and gives its output as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failure;

/// A workflow of the first tasks of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) steps: &'static [&'static str],
}

pub(crate) const LINEAR5: Line = Line { name: "linear5", steps: &["s1", "s2", "s3", "s4", "s5"] };
pub(crate) const ONE: Line = Line { name: "one", steps: &["s1"] };

impl Line {
    pub(crate) fn definition(&self) -> Value {
        let tasks: Vec<Value> = self
            .steps
            .iter()
            .map(|name| {
                json!({
                    "name": name, "taskReferenceName": name, "type": "SIMPLE",
                    "inputParameters": {"data": "${workflow.input.data}"},
                })
            })
            .collect();
        let last = self.steps.last().unwrap_or(&"");
        let output = json!({"text": format!("${{{last}.output.text}}")});
        json!({"name": self.name, "tasks": tasks, "outputParameters": output})
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    data: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Output {
    text: String,
}

/// The input of the n-th run.
pub(crate) fn input(n: usize) -> Value {
    let data = n.to_string();
    // The formatter would write one fill character after the other.
    let fill = "-".repeat(190_usize.saturating_sub(data.len()));
    json!({"data": data + &fill})
}

/// What the worker of a step makes of its input.
pub(crate) fn output(step: &str, input: &Input) -> Output {
    let mut text = String::with_capacity(36);
    text.push_str(step);
    text.push(':');
    text.extend(input.data.chars().take(20));
    while text.len() < 36 {
        text.push('-');
    }
    Output { text }
}

/// As [`output`], from JSON to JSON.
pub(crate) fn work(step: &str, value: &Value) -> Result<Value, Failure> {
    Ok(serde_json::to_value(output(step, &Input::deserialize(value)?))?)
}
