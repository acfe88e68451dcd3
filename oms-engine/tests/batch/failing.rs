//! Tasks that fail in a batch.

use oms_engine::{Execution, WorkflowStatus};
use serde_json::{Value, json};

use crate::common::wait;
use crate::{fine, world};

fn reason(run: &Execution) -> String {
    run.tasks.last().unwrap().reason_for_incompletion.clone().unwrap_or_default()
}

/// With its own reason, after it ran alone; the others complete in one attempt.
async fn fails_alone(how: Value, why: &str, attempts: usize) {
    let world = world().await;
    let mut hows = fine(8);
    hows.insert(5, how);
    let ids = world.start_together("order", &hows).await;
    for (n, id) in ids.iter().enumerate() {
        let run = wait(&world.engine, *id).await;
        if n == 5 {
            assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, attempts), "{why}");
            assert!(reason(&run).contains(why), "{}", reason(&run));
        } else {
            assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1), "{why}");
        }
    }
    world.check(9).await;
    let together = world.batches(ids[4]).iter().any(|size| size != "1");
    assert!(together, "they were no batch");
}

#[tokio::test]
async fn a_task_that_is_answered_with_an_error_fails_alone() {
    fails_alone(json!("error"), "never", 1).await;
}

#[tokio::test]
async fn a_task_whose_statement_fails_fails_alone() {
    fails_alone(json!("sql"), "22012", 2).await;
}

#[tokio::test]
async fn a_task_that_panics_fails_alone() {
    fails_alone(json!("panic"), "at the disco", 2).await;
}

#[tokio::test]
async fn a_task_with_an_output_over_the_limit_fails_alone() {
    fails_alone(json!("large"), "larger than 3145728 bytes", 1).await;
}

#[tokio::test]
async fn a_task_with_an_input_that_cannot_be_read_fails_alone() {
    fails_alone(json!(7), "invalid type: integer `7`", 1).await;
}

#[tokio::test]
async fn a_task_whose_constraint_fails_at_the_commit_fails_alone() {
    fails_alone(json!("deferred"), "23505", 2).await;
}

#[tokio::test]
async fn a_body_that_forgets_to_answer_fails_no_other_task() {
    fails_alone(json!("short"), "it answered 0 of 1 tasks", 1).await;
}

#[tokio::test]
async fn several_that_fail_do_so_each_for_itself() {
    let world = world().await;
    let mut hows: Vec<Value> =
        ["error", "panic", "sql", "error"].iter().map(|how| json!(how)).collect();
    hows.extend(fine(5));
    let ids = world.start_together("order", &hows).await;
    for (n, why) in ["never", "at the disco", "22012", "never"].iter().enumerate() {
        let run = wait(&world.engine, ids[n]).await;
        assert!(reason(&run).contains(why), "{n}: {}", reason(&run));
    }
    for id in &ids[4..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    world.check(6).await;
}

#[tokio::test]
async fn a_serialization_failure_repeats_the_batch_within_the_attempts() {
    let world = world().await;
    let mut hows = fine(4);
    hows.push(json!("serialization"));
    for id in world.start_together("order", &hows).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    }
    world.check(6).await;
}
