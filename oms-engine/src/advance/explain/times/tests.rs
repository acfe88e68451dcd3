use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::definition::{TaskDef, WorkflowDef};

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_000_000 + ms).unwrap()
}

/// A step that is retried after two seconds, a WAIT, a loop and a sub-workflow.
fn plan() -> Plan {
    let def = json!({"name": "w", "tasks": [
        {"name": "work", "taskReferenceName": "a", "type": "SIMPLE"},
        {"name": "work", "taskReferenceName": "b", "type": "SIMPLE", "startDelay": 1},
        {"name": "wait", "taskReferenceName": "wait", "type": "WAIT"},
        {"name": "loop", "taskReferenceName": "loop", "type": "DO_WHILE", "loopCondition": "false",
         "loopOver": [{"name": "work", "taskReferenceName": "in", "type": "SIMPLE"}]},
        {"name": "sub", "taskReferenceName": "sub", "type": "SUB_WORKFLOW",
         "subWorkflowParam": {"name": "other"}}]});
    let mut work = TaskDef::new("work");
    work.retry_delay_seconds = 2;
    work.retry_count = 3;
    let defs = BTreeMap::from([("work".to_owned(), work)]);
    Plan::compile(1, WorkflowDef::from_json(&def.to_string()).unwrap(), &defs).unwrap()
}

fn end(name: &str, kind: &str, seq: i64, [from, started, to]: [i64; 3]) -> ExplainedEnd {
    ExplainedEnd {
        reference_name: name.to_owned(),
        attempt: 0,
        seq,
        task_type: kind.to_owned(),
        scheduled_at: at(from),
        started_at: Some(at(started)),
        ended_at: at(to),
    }
}

fn path(ends: &[ExplainedEnd], until: i64) -> (Path, Vec<Attempt>) {
    let attempts = attempts(&plan(), at(until), ends, &[]);
    (critical_path(at(0), at(until), &attempts), attempts)
}

fn names(path: &Path) -> Vec<&str> {
    path.steps.iter().map(|step| step.reference_task_name.as_str()).collect()
}

#[test]
fn a_line_is_all_path_and_its_times_are_told_apart() {
    let mut again = end("a", "work", 2, [150, 2_190, 2_200]);
    again.attempt = 1;
    let ends = [
        end("a", "work", 1, [0, 100, 150]),
        again,
        end("b", "work", 3, [2_200, 3_230, 3_300]),
        end("wait", "WAIT", 4, [3_300, 3_300, 4_000]),
        end("sub", "SUB_WORKFLOW", 5, [4_000, 4_000, 4_500]),
    ];
    let (path, attempts) = path(&ends, 4_510);
    assert_eq!(names(&path), ["a", "a", "b", "wait", "sub"]);
    assert_eq!(path.rest_ms, 10);
    let sum = sum(&path.steps, path.rest_ms);
    let expected = TimeSpent {
        queue_wait_ms: 100 + 40 + 30,
        back_off_ms: 2_000 + 1_000,
        run_ms: 50 + 10 + 70,
        waiting_ms: 700,
        sub_workflow_ms: 500,
        between_ms: 10,
    };
    assert_eq!(sum, expected);
    let steps = by_step(&attempts, &path.steps);
    let of_a = steps.iter().find(|step| step.reference_task_name == "a").unwrap();
    assert_eq!((of_a.attempts, of_a.spent.run_ms, of_a.critical.run_ms), (2, 60, 60));
    assert_eq!(steps[0].reference_task_name, "a");
}

#[test]
fn the_branch_that_ended_last_is_the_path_and_its_container_is_no_step_of_it() {
    let ends = [
        end("a", "work", 1, [0, 0, 10]),
        end("join", "JOIN", 2, [10, 10, 90]),
        end("quick", "work", 3, [10, 10, 40]),
        end("slow", "work", 4, [10, 30, 60]),
        end("slower", "work", 5, [60, 60, 90]),
        end("b", "work", 6, [90, 90, 100]),
    ];
    let (path, attempts) = path(&ends, 100);
    assert_eq!(names(&path), ["a", "slow", "slower", "b"]);
    let steps = by_step(&attempts, &path.steps);
    let quick = steps.iter().find(|step| step.reference_task_name == "quick").unwrap();
    assert_eq!((quick.critical.total_ms(), quick.spent.total_ms()), (0, 30));
}

#[test]
fn turns_of_a_loop_are_one_step_in_the_sums() {
    let ends = [
        end("loop", "DO_WHILE", 1, [0, 0, 30]),
        end("in__1", "work", 2, [0, 0, 10]),
        end("in__2", "work", 3, [10, 10, 30]),
    ];
    let (path, attempts) = path(&ends, 30);
    assert_eq!(names(&path), ["in__1", "in__2"]);
    let steps = by_step(&attempts, &path.steps);
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].attempts, steps[0].critical.run_ms), (2, 30));
}

#[test]
fn what_lies_between_steps_is_told_and_not_lost() {
    let ends = [end("a", "work", 1, [5, 5, 20]), end("b", "work", 2, [70, 1_070, 1_080])];
    let (path, _) = path(&ends, 1_080);
    let between: Vec<i64> = path.steps.iter().map(|step| step.spent.between_ms).collect();
    assert_eq!(between, [5, 50]);
}

#[test]
fn a_run_without_an_attempt_is_all_between() {
    let (path, _) = path(&[], 40);
    assert_eq!((path.steps.len(), path.rest_ms), (0, 40));
    assert_eq!(sum(&path.steps, path.rest_ms).total_ms(), 40);
}

proptest! {
    /// Whatever overlaps, and whatever the retry policy says.
    #[test]
    fn the_path_s_times_add_up_to_the_run_s(
        times in prop::collection::vec((0..500_i64, 0..500_i64, 0..500_i64, 0..3_i16), 0..40),
        rest in 0..100_i64,
    ) {
        let mut ends = Vec::new();
        for (seq, (from, wait, run, attempt)) in (1..).zip(times) {
            let mut end = end("a", "work", seq, [from, from + wait, from + wait + run]);
            end.attempt = attempt;
            ends.push(end);
        }
        let until = rest + ends.iter().map(|end| (end.ended_at - at(0)).num_milliseconds()).max().unwrap_or(0);
        let (path, _) = path(&ends, until);
        prop_assert_eq!(sum(&path.steps, path.rest_ms).total_ms(), until);
        for pair in path.steps.windows(2) {
            prop_assert!(pair[0].end_time <= pair[1].scheduled_time);
        }
    }
}
