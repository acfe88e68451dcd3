//! HTTP tasks without a server: what a case says of one is the answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::play::{Player, STAND_IN};
use super::world::What;
use crate::decide::{TaskStatus, input_of};
use crate::definition::{HttpAnswer, HttpEnd, HttpRequest, call_failed, end_of};
use crate::store::TokenState;

/// How often each path was asked for.
pub(super) type Asked = BTreeMap<String, usize>;

impl Player<'_> {
    /// Does the first HTTP task that is leased. False: there is none.
    pub(super) fn http(&mut self) -> bool {
        let leased = self.workers().into_iter().find(|open| &*open.row.token.queue == "HTTP");
        let Some(token) = leased.map(|open| open.row.token.clone()) else { return false };
        let run = self.world.tables.load(&token);
        let own = run.state.branch.as_ref().and_then(|b| b.graph.find(&token.reference_name));
        let found = own.or_else(|| run.plan.graph.find(&token.reference_name));
        let node = found.map(|(node, _)| node.clone()).unwrap();
        let input = token.input.clone().unwrap_or_else(|| {
            input_of(&run.plan, &run.state, &node, &token.reference_name, token.attempt)
                .into_value()
        });
        let end = match HttpRequest::read(&input) {
            Err(reason) => Err(reason),
            Ok(request) => {
                let waits = request.async_complete.unwrap_or(node.async_complete);
                Ok(self.answer(&request).map_or_else(|| call_failed("cut"), |a| end_of(a, waits)))
            }
        };
        let what = match end {
            Ok(HttpEnd::Completed(output)) => ended(TaskStatus::Completed, Some(output), None),
            Ok(HttpEnd::Failed { reason, output }) => {
                ended(TaskStatus::Failed, Some(output), Some(reason))
            }
            Err(reason) => ended(TaskStatus::Failed, None, Some(reason)),
            Ok(HttpEnd::Waits(output)) => {
                let open = self.world.tables.open.get_mut(&token.id).unwrap();
                open.row.token.state = TokenState::Delayed;
                open.row.task_type = Some("HTTP".to_owned());
                open.row.output = Some(output);
                return true;
            }
        };
        self.world.step(token.id, what);
        true
    }

    /// What the case says of the next call of a path; none for a call that gets no answer.
    fn answer(&mut self, request: &HttpRequest) -> Option<HttpAnswer> {
        let path = request.uri.strip_prefix(STAND_IN).unwrap_or_default().to_owned();
        let number = self.asked.entry(path.clone()).or_default();
        let acts = self.case.http.get(&path).map(Vec::as_slice).unwrap_or_default();
        let act = acts.get(*number).or_else(|| acts.last()).cloned().unwrap_or_else(|| json!({}));
        *number += 1;
        let is_broken = act["cut"] == json!(true) || act["hang"] == json!(true);
        (!is_broken).then(|| answer(&act))
    }
}

fn ended(status: TaskStatus, output: Option<Value>, reason: Option<String>) -> What {
    What::Ended { status, output, reason }
}

fn answer(act: &Value) -> HttpAnswer {
    let (body, kind) = match &act["body"] {
        Value::Null => (String::new(), None),
        Value::String(text) => (text.clone(), Some("text/plain")),
        other => (other.to_string(), Some("application/json")),
    };
    let named = act["headers"]["content-type"].as_str().or(kind);
    let headers = named.map(|kind| ("content-type".to_owned(), kind.to_owned()));
    HttpAnswer {
        status: u16::try_from(act["status"].as_u64().unwrap_or(200)).unwrap(),
        reason: act["reason"].as_str().unwrap_or("OK").to_owned(),
        headers: headers.into_iter().collect(),
        body: body.into_bytes(),
    }
}
