//! HTTP tasks: what they say can be sent.

use super::Found;
use crate::definition::http::check_request;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_task::WorkflowTask;

/// Keys of Conductor's requests that find a service by a name of its own.
const WITHOUT_EFFECT: [&str; 2] = ["vipAddress", "appName"];

pub(super) fn check(found: &mut Found, task: &WorkflowTask, path: &str) {
    if task.task_type != TaskType::Http {
        return;
    }
    if cfg!(not(feature = "http")) {
        let why = "HTTP is switched off: build oms-engine with the cargo feature `http`";
        found.add(format!("{path}.type"), why);
    }
    let input = &task.input_parameters;
    for (key, fault) in check_request(input) {
        found.add(format!("{path}.inputParameters.{key}"), fault);
    }
    let (given, prefix) = match input.get("http_request").and_then(|given| given.as_object()) {
        Some(given) => (given, "http_request."),
        None => (input, ""),
    };
    for key in WITHOUT_EFFECT {
        if given.get(key).is_some_and(|value| !value.is_null()) {
            let what = "is kept and has no effect: the uri alone tells where to call";
            found.note(format!("{path}.inputParameters.{prefix}{key}"), what);
        }
    }
}
