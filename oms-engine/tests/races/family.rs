//! Parents and children that operators end and bring back at the same time.

use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, RerunRequest, RestartOptions, RetryOptions, StartRequest, WorkflowDef,
    WorkflowId, WorkflowStatus,
};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use crate::session::{Session, Step};
use crate::tasks::{Gate, Held, Quick};

const COMPLETED: i16 = 2;

fn parent_of(name: &str, child: &str) -> WorkflowDef {
    let text = json!({ "name": name, "tasks": [{
        "name": "s", "taskReferenceName": "s", "type": "SUB_WORKFLOW",
        "subWorkflowParam": { "name": child },
    }]});
    WorkflowDef::from_json(&text.to_string()).unwrap()
}

async fn child_of(b: &Session, id: WorkflowId) -> WorkflowId {
    let sql = format!(
        "SELECT id::text FROM oms_engine.workflows WHERE parent_id = '{id}'
         ORDER BY created_at DESC LIMIT 1"
    );
    until(&b.0, &format!("SELECT EXISTS ({sql})")).await;
    b.0.query_one(&sql, &[]).await.unwrap().get::<_, String>(0).parse().unwrap()
}

/// A parent and its child, both TERMINATED; nobody runs the child's tasks.
async fn ended(database: &TestDatabase, b: &Session) -> (Engine, WorkflowId, WorkflowId) {
    let engine = engine(database).build().await.unwrap();
    engine.register(&[], &[line("child", &["a"]), parent_of("p", "child")]).await.unwrap();
    let id = engine.start(StartRequest::new("p")).await.unwrap().id;
    let child = child_of(b, id).await;
    until(&b.0, "SELECT EXISTS (SELECT FROM oms_engine.open_tasks WHERE queue = 'a')").await;
    engine.terminate(child, "enough").await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Terminated);
    (engine, id, child)
}

/// Claims the child's task, and gives the step that completes the child with it.
async fn last_step(b: &Session, child: WorkflowId) -> Step<'static> {
    until(&b.0, "SELECT EXISTS (SELECT FROM oms_engine.open_tasks WHERE queue = 'a')").await;
    let holder = b.holder().await;
    // Who has its parent wait for it locks it for a moment.
    while b.claim("a", holder).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let sql = format!(
        "SELECT id FROM oms_engine.open_tasks WHERE workflow_id = '{child}' AND queue = 'a'"
    );
    Step {
        token: b.number(&sql).await,
        holder,
        opens: None,
        ends: Some(COMPLETED),
        container: None,
    }
}

async fn lock(session: &Session, id: WorkflowId) {
    session.run("BEGIN").await;
    session.run(&format!("SELECT FROM oms_engine.workflows WHERE id = '{id}' FOR UPDATE")).await;
}

/// For what a loaded machine takes its time for.
async fn until_late(b: &Session, sql: &str) {
    let begun = Instant::now();
    while !b.0.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed().as_secs() < 180, "never true: {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_child_that_was_decided_before_its_parent_waited_is_refused() {
    let database = database().await;
    let (b, c) = (Session::on(&database).await, Session::on(&database).await);
    let (engine, _, child) = ended(&database, &b).await;
    engine.retry(child, RetryOptions::default()).await.unwrap();
    let mut step = last_step(&b, child).await;
    let attached = format!(
        "SELECT EXISTS (SELECT FROM oms_engine.workflows w JOIN oms_engine.open_tasks t
            ON t.id = w.parent_token AND t.state = 3 WHERE w.id = '{child}')"
    );
    until(&c.0, &attached).await;
    // The step is refused by its old rev, and counts with what is so now.
    b.run("BEGIN").await;
    assert!(b.advance(&[Step { ..step }], 0, &[]).await.unwrap().is_empty());
    b.run("ROLLBACK").await;
    let rev = format!("UPDATE oms_engine.open_tasks SET rev = 0 WHERE id = {}", step.token);
    b.run(&rev).await;
    step.ends = Some(COMPLETED);
    b.advance(&[step], 0, &[]).await.unwrap();
    until(&c.0, "SELECT bool_and(status = 2) FROM oms_engine.workflows").await;
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_restarted_meanwhile_has_a_new_child_and_lets_the_old_one_be() {
    let database = database().await;
    let (b, c) = (Session::on(&database).await, Session::on(&database).await);
    let (engine, id, child) = ended(&database, &b).await;
    lock(&c, id).await;
    engine.retry(child, RetryOptions::default()).await.unwrap();
    let restarting = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.restart(id, RestartOptions::default()).await })
    };
    c.somebody_waits().await;
    c.run("COMMIT").await;
    // Whoever comes second finds that the run goes on already.
    match restarting.await.unwrap() {
        Ok(()) | Err(Error::Conflict { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    // A restarted parent opens its new child's task when it comes to it, after the old child's.
    let (holder, begun) = (b.holder().await, Instant::now());
    let ended = "SELECT count(*) FILTER (WHERE status <> 2) FROM oms_engine.workflows";
    while b.number(ended).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "some run never completes");
        b.claim("a", holder).await;
        let sql = "SELECT id, rev FROM oms_engine.open_tasks WHERE queue = 'a' AND state = 1";
        for row in b.0.query(sql, &[]).await.unwrap() {
            let token: i64 = row.get(0);
            b.run(&format!("UPDATE oms_engine.open_tasks SET rev = 0 WHERE id = {token}")).await;
            let step = Step { token, holder, opens: None, ends: Some(COMPLETED), container: None };
            b.advance(&[step], 0, &[]).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_operators_do_to_a_family_at_once_it_can_be_brought_to_its_end() {
    let (database, gate) = (database().await, Gate::closed());
    let b = Session::on(&database).await;
    let engine = engine(&database).task(Quick).task(Held(gate.clone())).build().await.unwrap();
    let definitions = [
        line("child", &["quick", "held"]),
        parent_of("middle", "child"),
        parent_of("top", "middle"),
    ];
    engine.register(&[], &definitions).await.unwrap();
    let top = engine.start(StartRequest::new("top")).await.unwrap().id;
    gate.has_begun(1).await;
    let middle = child_of(&b, top).await;
    let child = child_of(&b, middle).await;
    let operators = (0..6_usize).map(|who| {
        let (engine, ids) = (engine.clone(), [top, middle, child]);
        tokio::spawn(async move {
            for turn in 0..12_usize {
                let id = ids[(who + turn) % 3];
                let done = match (who * 7 + turn * 5) % 7 {
                    0 | 1 => engine.terminate(id, "enough").await,
                    2 => engine.retry(id, RetryOptions::default()).await,
                    3 | 4 => engine.retry(id, RetryOptions::resuming_sub_workflows()).await,
                    5 => engine.restart(id, RestartOptions::default()).await,
                    _ => engine.rerun(id, RerunRequest::new()).await,
                };
                match done {
                    Ok(()) | Err(Error::Conflict { .. } | Error::Moved { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    });
    for operator in operators.collect::<Vec<_>>() {
        operator.await.unwrap().unwrap();
    }
    gate.open();
    let begun = Instant::now();
    loop {
        let run = wait(&engine, top).await;
        if run.status == WorkflowStatus::Completed {
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "{run:#?}");
        let mut done = engine.retry(top, RetryOptions::resuming_sub_workflows()).await;
        if matches!(done, Err(Error::Conflict { .. })) {
            // Ended before it had a task, there is nothing to retry.
            done = engine.restart(top, RestartOptions::default()).await;
        }
        match done {
            Ok(()) | Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    until(&b.0, "SELECT NOT EXISTS (SELECT FROM oms_engine.open_tasks)").await;
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.workflows WHERE status < 2").await, 0);
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_starts_itself_for_ever_is_bounded() {
    let database = database().await;
    let b = Session::on(&database).await;
    let engine = engine(&database).build().await.unwrap();
    engine.register_workflow(&parent_of("again", "again")).await.unwrap();
    let id = engine.start(StartRequest::new("again")).await.unwrap().id;
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.workflows").await, 200);
    let deepest = "SELECT count(*) FROM oms_engine.task_history
        WHERE reason = 'sub-workflows would be nested more than 200 deep'";
    assert_eq!(b.number(deepest).await, 1);
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_and_a_wide_tree_end_with_their_parent() {
    let database = database().await;
    let b = Session::on(&database).await;
    let engine = engine(&database).build().await.unwrap();
    let mut definitions = vec![line("d100", &["nobody"])];
    for depth in (0..100).rev() {
        definitions.push(parent_of(&format!("d{depth}"), &format!("d{}", depth + 1)));
    }
    let wide = json!({ "name": "wide", "tasks": [
        { "name": "f", "taskReferenceName": "f", "type": "FORK_JOIN_DYNAMIC",
          "inputParameters": { "forkTaskWorkflow": "d100",
                               "forkTaskInputs": "${workflow.input.list}" } },
        { "name": "j", "taskReferenceName": "j", "type": "JOIN" },
    ]});
    definitions.push(WorkflowDef::from_json(&wide.to_string()).unwrap());
    engine.register(&[], &definitions).await.unwrap();
    let deep = engine.start(StartRequest::new("d0")).await.unwrap().id;
    let list = json!({ "list": vec![json!({}); 1_000] });
    let wide = engine.start(StartRequest::new("wide").input(list)).await.unwrap().id;
    let all = "SELECT count(*) = 1001 FROM oms_engine.open_tasks WHERE queue = 'nobody'";
    until_late(&b, all).await;
    engine.terminate(deep, "enough").await.unwrap();
    engine.terminate(wide, "enough").await.unwrap();
    until_late(&b, "SELECT bool_and(status = 5) FROM oms_engine.workflows").await;
    let reasons = "SELECT count(DISTINCT reason) FROM oms_engine.workflows WHERE name = 'd100'";
    assert_eq!(b.number(reasons).await, 2);
    until(&b.0, "SELECT NOT EXISTS (SELECT FROM oms_engine.open_tasks)").await;
    assert_nothing_stuck(&b.0).await;
}
