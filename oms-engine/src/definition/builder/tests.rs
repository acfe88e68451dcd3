//! What the builder writes is what validation asks for.

use std::time::Duration;

use serde_json::json;

use crate::definition::settings::Termination;
use crate::definition::task_def::TaskDef;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

#[test]
fn each_constructor_makes_what_validation_asks_of_its_type() {
    let one = || [WorkflowTask::noop("n")];
    let child = WorkflowDef::builder("child").task(WorkflowTask::noop("c")).build().unwrap();
    let steps: Vec<Vec<WorkflowTask>> = vec![
        vec![WorkflowTask::dynamic("a", "${workflow.input.x}")],
        vec![WorkflowTask::switch("a", "${workflow.input.x}").case("1", one())],
        vec![WorkflowTask::switch_script("a", "$.x").input("x", 1).case("1", one())],
        vec![
            WorkflowTask::fork("a", [vec![WorkflowTask::noop("b")]]),
            WorkflowTask::join("j", ["b"]),
        ],
        vec![
            WorkflowTask::switch("s", 1).case("1", one()),
            WorkflowTask::exclusive_join("a", ["n"], ["s"]),
        ],
        vec![
            WorkflowTask::dynamic_fork("a", "${workflow.input.t}", "${workflow.input.i}"),
            WorkflowTask::join("j", Vec::<String>::new()),
        ],
        vec![
            WorkflowTask::fork_each("a", "work", "${workflow.input.i}"),
            WorkflowTask::join("j", Vec::<String>::new()),
        ],
        vec![WorkflowTask::do_while("a", "false", one()).keep_last(2)],
        vec![WorkflowTask::for_each("a", "${workflow.input.i}", one())],
        vec![WorkflowTask::sub_workflow("a", "child").sub_workflow_version(2)],
        vec![WorkflowTask::sub_workflow_inline("a", &child)],
        vec![WorkflowTask::start_workflow("a", "child", json!({"x": 1}))],
        vec![WorkflowTask::wait_for("a", Duration::from_millis(1_500))],
        vec![WorkflowTask::wait_until("a", "2030-01-01 10:00")],
        vec![WorkflowTask::wait_for_signal("a")],
        vec![WorkflowTask::human("a")],
        vec![WorkflowTask::inline("a", "1 + 1")],
        vec![WorkflowTask::set_variable("a", "x", 1)],
        vec![
            WorkflowTask::terminate("a", Termination::Completed, "done")
                .terminate_output(json!({"x": 1})),
        ],
        vec![WorkflowTask::noop("a")],
    ];
    for tasks in steps {
        let mut def = WorkflowDef::builder("w");
        for task in tasks {
            def = def.task(task);
        }
        let built = def.build().unwrap_or_else(|faults| panic!("{faults}"));
        let text = serde_json::to_string(&built).unwrap();
        assert_eq!(WorkflowDef::from_json(&text).unwrap(), built);
    }
}

#[test]
fn a_wait_is_rounded_up_to_whole_seconds() {
    let wait = WorkflowTask::wait_for("a", Duration::from_millis(1_500));
    assert_eq!(wait.input_parameters["duration"], "2 seconds");
}

#[test]
fn durations_are_rounded_up_and_never_wrap() {
    assert_eq!(TaskDef::new("x").retry_delay(Duration::from_millis(1)).retry_delay_seconds, 1);
    assert_eq!(TaskDef::new("x").retry_delay(Duration::ZERO).retry_delay_seconds, 0);
    assert_eq!(TaskDef::new("x").retry_delay(Duration::MAX).retry_delay_seconds, i32::MAX);
    assert_eq!(TaskDef::new("x").total_timeout(Duration::MAX).total_timeout_seconds, i64::MAX);
}
