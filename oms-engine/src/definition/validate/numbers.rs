//! Numbers within bounds in which no arithmetic overflows and the database knows every instant.

use std::collections::BTreeMap;

use super::Found;
use crate::definition::domain::TaskToDomain;
use crate::definition::payload::push_key;
use crate::definition::task_def::TaskDef;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

/// The most attempts after the first.
const RETRIES_MAX: i64 = 1_000;
/// The longest delay and timeout.
const SECONDS_MAX: i64 = 10 * 366 * 24 * 3600;

pub(super) fn check_workflow(found: &mut Found, def: &WorkflowDef) {
    check_range(found, "$.version", def.version, 1, i32::MAX.into());
    if def.schema_version != 2 {
        found.add(
            "$.schemaVersion",
            format!("is {}: only 2 is supported, with expressions in `${{…}}`", def.schema_version),
        );
    }
    check_range(found, "$.timeoutSeconds", def.timeout_seconds, 0, SECONDS_MAX);
    if let Some(version) = def.failure_workflow_version {
        check_range(found, "$.failureWorkflowVersion", version, 1, i32::MAX.into());
    }
}

pub(super) fn check_step(found: &mut Found, task: &WorkflowTask, path: &str) {
    check_range(found, &format!("{path}.startDelay"), task.start_delay, 0, SECONDS_MAX);
    if let Some(retries) = task.retry_count {
        check_range(found, &format!("{path}.retryCount"), retries, 0, RETRIES_MAX);
    }
    if let Some(params) = &task.sub_workflow_param {
        if let Some(version) = params.version {
            let path = format!("{path}.subWorkflowParam.version");
            check_range(found, &path, version, 1, i32::MAX.into());
        }
        let domains = params.task_to_domain.iter().flatten();
        for (task, domains) in domains.filter(|(_, domains)| !domains.contains("${")) {
            let map = BTreeMap::from([(task.clone(), domains.clone())]);
            if let Err((_, reason)) = TaskToDomain::new(map) {
                let mut path = format!("{path}.subWorkflowParam.taskToDomain");
                push_key(&mut path, task);
                found.add(path, reason);
            }
        }
        if let Some(priority) = params.priority.as_ref().filter(|p| p.is_number()) {
            let path = format!("{path}.subWorkflowParam.priority");
            check_range(found, &path, priority.as_i64().unwrap_or(i64::MAX), 0, 99);
        }
    }
}

pub(super) fn check_task_def(
    found: &mut Found,
    def: &TaskDef,
    path: &str,
    response_timeout_min: i64,
) {
    let response = def.response_timeout_seconds;
    let checks: [(&str, i64, i64, i64); 9] = [
        ("retryCount", def.retry_count.into(), 0, RETRIES_MAX),
        ("retryDelaySeconds", def.retry_delay_seconds.into(), 0, SECONDS_MAX),
        ("backoffScaleFactor", def.backoff_scale_factor.into(), 1, i32::MAX.into()),
        ("maxRetryDelaySeconds", def.max_retry_delay_seconds.into(), 0, SECONDS_MAX),
        ("backoffJitterMs", def.backoff_jitter_ms.into(), 0, i32::MAX.into()),
        ("timeoutSeconds", def.timeout_seconds, 0, SECONDS_MAX),
        ("responseTimeoutSeconds", response, response_timeout_min, SECONDS_MAX),
        ("pollTimeoutSeconds", def.poll_timeout_seconds.unwrap_or(0).into(), 0, SECONDS_MAX),
        ("totalTimeoutSeconds", def.total_timeout_seconds, 0, SECONDS_MAX),
    ];
    for (field, value, least, most) in checks {
        check_range(found, &format!("{path}.{field}"), value, least, most);
    }
    // Zero or less is none.
    let window = i64::from(def.rate_limit_frequency_in_seconds).max(0);
    check_range(found, &format!("{path}.rateLimitFrequencyInSeconds"), window, 0, SECONDS_MAX);
    if def.timeout_seconds > 0 && response > def.timeout_seconds {
        found.add(
            format!("{path}.responseTimeoutSeconds"),
            format!(
                "is {response}, more than timeoutSeconds: set it to at most {}",
                def.timeout_seconds
            ),
        );
    }
    if def.total_timeout_seconds > 0 && def.timeout_seconds > def.total_timeout_seconds {
        found.add(
            format!("{path}.timeoutSeconds"),
            format!(
                "is {}, more than totalTimeoutSeconds: set it to at most {}",
                def.timeout_seconds, def.total_timeout_seconds
            ),
        );
    }
}

fn check_range(found: &mut Found, path: &str, value: impl Into<i64>, least: i64, most: i64) {
    let value = value.into();
    if value < least {
        found.add(path, format!("is {value}: at least {least} is allowed"));
    } else if value > most {
        found.add(path, format!("is {value}: at most {most} is allowed"));
    }
}
