//! Events that mean nothing to a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::model::{Model, Token};
use crate::decide::{Event, TaskEnd, TaskStatus, TimeoutKind};

/// Events that fit no state of this run, or are old news to it.
pub(super) fn nonsense(model: &Model) -> Vec<Event> {
    let continues = |after: &str| Event::Continue {
        after: after.to_owned(),
        retry_after: None,
        timeout: None,
        jitter: f64::NAN,
    };
    let mut events = vec![continues("nobody"), continues("")];
    if matches!(model.token, Some(Token::Task { .. })) || model.status.is_terminal() {
        events.push(Event::Start);
        events.extend(model.plan.graph.nodes.iter().map(|node| continues(&node.reference_name)));
    }
    if !model.status.is_terminal() {
        events.push(Event::Retry);
    }
    let references: BTreeMap<&str, Option<i16>> = model
        .plan
        .graph
        .nodes
        .iter()
        .map(|node| (&*node.reference_name, model.memory.open.get(&*node.reference_name).copied()))
        .chain([("nobody", None)])
        .collect();
    for (reference_name, open) in references {
        for status in TaskStatus::ALL {
            let news = TaskStatus::InProgress.may_become(*status) && status.is_terminal();
            let attempts = [-1, 0, i16::MAX].into_iter().chain(open);
            for attempt in attempts.filter(|attempt| !news || open != Some(*attempt)) {
                events.push(Event::Ended(TaskEnd {
                    reference_name: reference_name.into(),
                    attempt,
                    status: *status,
                    input: None,
                    output: Some(json!([1]).into()),
                    reason: None,
                    retry_after: Some(Duration::MAX),
                    timeout: Some(TimeoutKind::Total),
                    jitter: f64::INFINITY,
                }));
            }
        }
    }
    events
}
