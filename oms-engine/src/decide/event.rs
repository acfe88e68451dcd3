//! EVENT: what is published, and under which name.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::DecideError;
use super::flow::{After, Place, Walk};
use super::node::Kind;
use super::status::TaskStatus;
use crate::definition::Payload;

/// An event that a decision publishes: it is written with the decision or not at all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Published {
    /// Its name: `conductor:<workflow>:<reference name>` or `conductor:<workflow>:<name>`.
    pub(crate) event: String,
    /// The id of the task that publishes it.
    pub(crate) message_id: String,
    pub(crate) payload: Arc<Value>,
}

impl Walk<'_> {
    /// Publishes what a step says. Only a decision that is written by itself does: the statement
    /// for many runs knows no events.
    pub(super) fn publish(
        &mut self,
        place: &Place,
        attempt: i16,
        input: &Value,
    ) -> Result<After, DecideError> {
        if !self.state.fresh {
            return Err(DecideError::NeedsFresh);
        }
        let mut payload = input.as_object().cloned().unwrap_or_else(Map::new);
        let mut add = |key: &str, value: Value| payload.insert(key.to_owned(), value);
        add("workflowInstanceId", json!(self.state.id.to_string()));
        add("workflowType", json!(&*self.plan.name));
        add("workflowVersion", json!(self.plan.def.version));
        add("correlationId", json!(self.state.correlation_id.as_deref()));
        let domains = self.state.task_to_domain.as_ref();
        add("taskToDomain", domains.map_or_else(|| json!({}), |domains| json!(domains.as_map())));
        let sink = input.get("sink").and_then(Value::as_str).unwrap_or_default();
        let event = match event_of(sink, &self.plan.name, &place.name()) {
            Ok(event) => event,
            Err(reason) => {
                let output = Some(Value::Object(payload).into());
                return Ok(After { output, ..After::failed(attempt, TaskStatus::Failed, reason) });
            }
        };
        payload.insert("event_produced".to_owned(), json!(event));
        let after = After::completed(attempt, Value::Object(payload));
        if let Some(payload) = after.output.as_ref().map(Payload::shared) {
            let message_id = self.state.task_id(&place.name(), attempt).to_string();
            self.out.events.push(Published { event, message_id, payload });
        }
        Ok(after)
    }

    /// Whether a task that has been done waits for a word from outside all the same.
    pub(super) fn waits_on(place: &Place, after: &After) -> bool {
        let asynchronous = place.node.async_complete && matches!(place.node.kind, Kind::Event);
        asynchronous && matches!(after.status, TaskStatus::Completed)
    }
}

/// The name of the event for a sink, as Conductor makes it.
fn event_of(sink: &str, workflow: &str, reference_name: &str) -> Result<String, String> {
    if sink == "conductor" {
        return Ok(format!("conductor:{workflow}:{reference_name}"));
    }
    if sink.starts_with("conductor:") {
        return Ok(format!("conductor:{workflow}:{}", sink.replace("conductor:", "")));
    }
    Err(format!("Invalid / Unsupported sink specified: {sink}"))
}

#[cfg(test)]
mod tests {
    use super::event_of;

    #[test]
    fn an_event_is_named_by_its_workflow() {
        assert_eq!(event_of("conductor", "w", "r__2").as_deref(), Ok("conductor:w:r__2"));
        assert_eq!(event_of("conductor:q", "w", "r").as_deref(), Ok("conductor:w:q"));
        assert_eq!(event_of("conductor:a:b", "w", "r").as_deref(), Ok("conductor:w:a:b"));
        for sink in ["", "kafka:t", "conductors"] {
            assert!(event_of(sink, "w", "r").is_err(), "{sink}");
        }
    }
}
