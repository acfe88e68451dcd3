//! Checks a schedule before it is put: every fault at once, each with its JSON path.

use serde_json::Value;

use super::{Crons, StartWorkflowRequest, WorkflowSchedule};
use crate::definition::domain::TaskToDomain;
use crate::definition::faults::{Fault, Faults};
use crate::definition::nesting::{Part, check_parts};
use crate::definition::payload::{KEY_MAX_BYTES, push_key};

/// Expressions of one schedule.
const EXPRESSIONS_MAX: usize = 100;
/// Missed fires that may be started.
const CATCHUP_MAX: i32 = 10_000;
/// Ten thousand years: the database knows every time before it.
const TIME_MAX_MS: i64 = 253_402_300_799_000;

/// Checks a schedule. Whether its workflow is registered is found out when it fires.
///
/// # Errors
/// Every fault, each with its JSON path and what to do.
pub fn validate_schedule(schedule: &WorkflowSchedule) -> Result<(), Faults> {
    let mut faults = Vec::new();
    let mut add = |path: &str, message: String| faults.push(Fault::new(path, message));
    check_key(&mut add, "$.name", &schedule.name);
    let count = schedule.cron_schedules.len();
    if count > EXPRESSIONS_MAX {
        let message = format!("has {count} entries: at most {EXPRESSIONS_MAX} are allowed");
        add("$.cronSchedules", message);
    }
    if let Some(limit) = schedule.catchup_limit.filter(|n| !(1..=CATCHUP_MAX).contains(n)) {
        add("$.catchupLimit", format!("is {limit}: 1 to {CATCHUP_MAX} are allowed"));
    }
    for (path, time) in [
        ("$.scheduleStartTime", schedule.schedule_start_time),
        ("$.scheduleEndTime", schedule.schedule_end_time),
    ] {
        if let Some(time) = time.filter(|time| !(0..=TIME_MAX_MS).contains(time)) {
            add(path, format!("is {time}: write epoch milliseconds, 0 to {TIME_MAX_MS}"));
        }
    }
    if let (Some(from), Some(to)) = (schedule.schedule_start_time, schedule.schedule_end_time)
        && to < from
    {
        add("$.scheduleEndTime", format!("is {to}, before scheduleStartTime: it would never fire"));
    }
    check_start(&mut add, &schedule.start_workflow_request);
    if count <= EXPRESSIONS_MAX
        && let Err(wrong) = Crons::compile(schedule)
    {
        faults.extend(wrong.iter().cloned());
    }
    if let Ok(value) = serde_json::to_value(schedule) {
        let mut path = String::from("$");
        if let Err(message) = check_parts(&value, Part::Schedule, 0, &mut path) {
            faults.push(Fault::new(path, message));
        }
    }
    Faults::check(schedule.subject(), faults)
}

fn check_key(add: &mut impl FnMut(&str, String), path: &str, key: &str) {
    if key.trim().is_empty() {
        add(path, "is empty: give a name".to_owned());
    } else if key.len() > KEY_MAX_BYTES {
        let length = key.len();
        add(path, format!("is {length} bytes long: at most {KEY_MAX_BYTES} are allowed"));
    }
}

fn check_start(add: &mut impl FnMut(&str, String), start: &StartWorkflowRequest) {
    let path = |field: &str| format!("$.startWorkflowRequest.{field}");
    let given = start.workflow_def.as_ref().is_some_and(Value::is_object);
    if !given || !start.name.is_empty() {
        check_key(add, &path("name"), &start.name);
    }
    if let Some(version) = start.version.filter(|version| *version < 1) {
        add(&path("version"), format!("is {version}: at least 1 is allowed"));
    }
    if !(0..=99).contains(&start.priority) {
        add(&path("priority"), format!("is {}: 0 to 99 are allowed", start.priority));
    }
    if let Some(id) = &start.correlation_id {
        check_key(add, &path("correlationId"), id);
    }
    if let Err((key, reason)) = TaskToDomain::new(start.task_to_domain.clone()) {
        let mut path = path("taskToDomain");
        push_key(&mut path, &key);
        add(&path, reason);
    }
    for (field, given, hint) in [
        (
            "idempotencyKey",
            start.idempotency_key.is_some(),
            "each fire is a start of its own: remove it",
        ),
        (
            "externalInputPayloadStoragePath",
            start.external_input_payload_storage_path.is_some(),
            "not supported: give the input itself",
        ),
    ] {
        if given {
            add(&path(field), format!("{field}: {hint}"));
        }
    }
}
