//! Starting: once under a key, in order of priority, many at once, in the caller's transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::common::script::{After, Gate, Notes, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, line, until, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, IdempotencyStrategy, Signal, StartRequest, Started, TaskDef, WorkflowDef,
    WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn done() -> Work {
    Work::new(|_, input| async move { Ok(input) })
}

async fn ready(database: &TestDatabase) -> Engine {
    let engine = told(database).task(done()).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    engine
}

fn keyed(key: &str) -> StartRequest {
    StartRequest::new("one").input(json!({"value": 1})).idempotency_key(key)
}

async fn count(database: &TestDatabase, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM oms_engine.{table}");
    database.connect().await.unwrap().query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn sixty_four_callers_on_two_engines_start_one_run_for_each_key() {
    let database = database().await;
    let engines = [ready(&database).await, ready(&database).await];
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        for key in 0..20 {
            let engine = engines[caller % 2].clone();
            callers.spawn(async move {
                let started = engine.start(keyed(&format!("k{key}"))).await.unwrap();
                (key, started)
            });
        }
    }
    let mut by_key: BTreeMap<i32, Vec<Started>> = BTreeMap::new();
    while let Some(done) = callers.join_next().await {
        let (key, started) = done.unwrap();
        by_key.entry(key).or_default().push(started);
    }
    assert_eq!(by_key.len(), 20);
    for started in by_key.values() {
        let ids: BTreeSet<_> = started.iter().map(|s| s.id).collect();
        let first = started.iter().filter(|s| !s.existed).count();
        assert_eq!((started.len(), ids.len(), first), (64, 1, 1));
        assert_eq!(wait(&engines[0], started[0].id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!(count(&database, "workflows").await, 20);
    assert_eq!(count(&database, "task_history").await, 20);
}

#[tokio::test]
async fn a_key_is_the_workflow_s_and_another_input_under_it_is_a_conflict() {
    let database = database().await;
    let engine = ready(&database).await;
    engine.register_workflow(&line("two", &["work"])).await.unwrap();
    let first = engine.start(keyed("k")).await.unwrap();
    let other = StartRequest::new("two").idempotency_key("k");
    assert_ne!(engine.start(other).await.unwrap().id, first.id);
    let conflict = || keyed("k").input(json!({"value": 2}));
    let mut client = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let refused = [
        engine.start(conflict()).await.map(drop),
        engine.start_many(vec![keyed("new"), conflict()]).await.map(drop),
        engine.start_in(&tx, conflict()).await.map(drop),
    ];
    tx.rollback().await.unwrap();
    for refused in refused {
        let error = refused.unwrap_err();
        let wanted = format!(
            "idempotency key \"k\" of workflow \"one\" was used by workflow {} with another input",
            first.id
        );
        assert_eq!(error.to_string(), wanted);
        assert!(matches!(error, Error::IdempotencyConflict { .. }) && !error.is_retryable());
    }
    assert_eq!(count(&database, "workflows").await, 2);
}

#[tokio::test]
async fn a_key_counts_for_every_way_of_starting() {
    let database = database().await;
    let engine = ready(&database).await;
    let first = engine.start(keyed("k")).await.unwrap();
    let many = vec![keyed("k"), keyed("m"), keyed("m")];
    let many = engine.start_many(many).await.unwrap();
    assert_eq!((many[0].id, many[0].existed), (first.id, true));
    assert_eq!((many[1].id, many[1].existed, many[2].existed), (many[2].id, false, true));
    let mut client = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let again = engine.start_in(&tx, keyed("m")).await.unwrap();
    let new = engine.start_in(&tx, keyed("t")).await.unwrap();
    let repeated = engine.start_in(&tx, keyed("t")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((again.id, again.existed), (many[1].id, true));
    assert_eq!((new.id, new.existed, repeated.existed), (repeated.id, false, true));
    assert_eq!(engine.start(keyed("t")).await.unwrap().id, new.id);
    assert_eq!(count(&database, "workflows").await, 3);
}

#[tokio::test]
async fn ten_thousand_are_started_in_one_call_and_answered_in_order() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let request = |n: usize| StartRequest::new("one").input(json!({"value": n}));
    let request = |n| request(n).correlation_id(format!("c{n}"));
    let started = engine.start_many((0..10_000).map(request).collect()).await.unwrap();
    assert_eq!(started.iter().map(|s| s.id).collect::<BTreeSet<_>>().len(), 10_000);
    for n in [0, 1, 999, 1_000, 1_001, 5_000, 9_999] {
        let run = engine.get(started[n].id).await.unwrap();
        assert_eq!(run.correlation_id, Some(format!("c{n}")));
        assert_eq!((run.input["value"].clone(), run.tasks.len()), (json!(n), 1));
    }
    assert_eq!(count(&database, "workflows").await, 10_000);
    let transactions = "SELECT count(DISTINCT xmin::text) = 1 FROM oms_engine.workflows";
    until(&database.connect().await.unwrap(), transactions).await;
    assert!(engine.start_many(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_many_either_all_are_started_or_none() {
    let database = database().await;
    let engine = ready(&database).await;
    let big = json!({"big": "x".repeat(4 * 1024 * 1024)});
    let bad = [
        StartRequest::new("nowhere"),
        StartRequest::new("one").input([1, 2]),
        StartRequest::new("one").priority(100),
        StartRequest::new("one").version(7),
        StartRequest::new("one").input(json!({"value": big})),
    ];
    for bad in bad {
        let mut many: Vec<_> = (0..1_500).map(|_| StartRequest::new("one")).collect();
        many.push(bad);
        engine.start_many(many).await.unwrap_err();
    }
    assert_eq!((count(&database, "workflows").await, count(&database, "open_tasks").await), (0, 0));
}

#[tokio::test]
async fn one_slot_takes_the_most_urgent_first_and_equals_in_order() {
    let database = database().await;
    let (gate, notes) = (Gate::new(), Notes::default());
    let (inside, order) = (gate.clone(), notes.clone());
    let work = Work::new(move |_, input: Value| {
        let (gate, order) = (inside.clone(), order.clone());
        async move {
            order.add("order", &input["from_start"]);
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work).concurrency(1).pumps(1).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let mut started = Vec::new();
    for (n, priority) in [0, 0, 5, 99, 5, 0].into_iter().enumerate() {
        let request = StartRequest::new("one").input(json!({"value": n})).priority(priority);
        started.push(engine.start(request).await.unwrap().id);
        if n == 0 {
            gate.entered().await;
        }
    }
    gate.open(started.len());
    for id in started {
        wait(&engine, id).await;
    }
    assert_eq!(notes.of("order"), ["0", "3", "2", "4", "1", "5"]);
}

#[tokio::test]
async fn start_in_is_there_with_the_caller_s_row_or_not_at_all() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    // Sixty seconds lie between two looks of this engine: it has to be woken.
    let engine = told(&database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let mut client = database.connect().await.unwrap();
    client.batch_execute("CREATE TABLE orders (id uuid)").await.unwrap();
    let mut ids = Vec::new();
    for commit in [false, true] {
        let tx = client.transaction().await.unwrap();
        let id = engine.start_in(&tx, StartRequest::new("one")).await.unwrap().id;
        tx.execute("INSERT INTO orders VALUES ($1)", &[&id.as_uuid()]).await.unwrap();
        if commit {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        ids.push(id);
    }
    let begun = Instant::now();
    gate.entered().await;
    assert!(begun.elapsed() < SECOND * 3, "woken after {:?}", begun.elapsed());
    gate.open(1);
    assert_eq!(wait(&engine, ids[1]).await.status, WorkflowStatus::Completed);
    assert!(matches!(engine.get(ids[0]).await, Err(Error::WorkflowNotFound(_))));
    let both =
        "SELECT array_agg(id) = (SELECT array_agg(id) FROM oms_engine.workflows) FROM orders";
    until(&client, both).await;
}

#[tokio::test]
async fn timers_hear_of_what_start_in_began() {
    let database = database().await;
    let engine = told(&database).task(done()).build().await.unwrap();
    let delayed = WorkflowTask::simple("work", "w").start_delay(SECOND);
    let delayed = WorkflowDef::builder("delayed").task(delayed).build().unwrap();
    let poll = TaskDef::new("nobody").response_timeout(SECOND).poll_timeout(SECOND);
    let unserved = WorkflowTask::simple("nobody", "n").definition(poll);
    let unserved = WorkflowDef::builder("unserved").task(unserved).build().unwrap();
    engine.register(&[], &[delayed, unserved]).await.unwrap();
    let mut client = database.connect().await.unwrap();
    for (name, status) in [("delayed", "COMPLETED"), ("unserved", "TIMED_OUT")] {
        let tx = client.transaction().await.unwrap();
        let id = engine.start_in(&tx, StartRequest::new(name)).await.unwrap().id;
        tx.commit().await.unwrap();
        let soon = tokio::time::timeout(SECOND * 4, engine.wait(id)).await;
        assert_eq!(soon.unwrap().unwrap().status.as_str(), status);
    }
}

#[tokio::test]
async fn a_definition_replaced_under_a_run_leaves_it_and_counts_for_new_starts_everywhere() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let after = After::new(|_, _| async { Ok(json!({})) });
    let engine = told(&database).task(work).task(after).build().await.unwrap();
    let other = told(&database).build().await.unwrap();
    engine.register_workflow(&line("def", &["work", "after"])).await.unwrap();
    let old = engine.start(StartRequest::new("def")).await.unwrap();
    let cached = other.start(StartRequest::new("def")).await.unwrap();
    gate.entered().await;
    engine.register_workflow(&line("def", &["after"])).await.unwrap();
    let new = other.start(StartRequest::new("def")).await.unwrap();
    let many = other.start_many(vec![StartRequest::new("def").version(1)]).await.unwrap();
    gate.open(2);
    for (id, tasks) in [(old.id, 2), (cached.id, 2), (new.id, 1), (many[0].id, 1)] {
        let run = wait(&engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, tasks));
    }
    // A second version: it is the latest, the first can still be asked for.
    let mut second = line("def", &["after", "after"]);
    second.version = 2;
    engine.register_workflow(&second).await.unwrap();
    let latest = other.start(StartRequest::new("def")).await.unwrap();
    let first = other.start(StartRequest::new("def").version(1)).await.unwrap();
    assert_eq!(wait(&engine, latest.id).await.workflow_version, 2);
    assert_eq!(wait(&engine, first.id).await.workflow_version, 1);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn a_definition_makes_a_new_row_only_when_it_or_a_task_of_it_changes() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    let def = line("def", &["work"]);
    let task = TaskDef::new("work").retry_count(1);
    for (task, rows) in [
        (task.clone(), 1),
        (task.clone(), 1),
        (task.clone().retry_count(2), 2),
        (task.clone().retry_count(2), 2),
        (TaskDef::new("another"), 2),
        (task, 3),
    ] {
        engine.register(&[task], std::slice::from_ref(&def)).await.unwrap();
        assert_eq!(count(&database, "workflow_definitions").await, rows);
    }
    // A task definition alone counts too, for the runs that start from then on.
    let old = engine.start(StartRequest::new("def")).await.unwrap();
    engine.register_task(&TaskDef::new("work").retry_count(0)).await.unwrap();
    let new = engine.start(StartRequest::new("def")).await.unwrap();
    let fail =
        Work::new(|_, _| async { Err(oms_engine::TaskError::retry_after(SECOND / 10, "no")) });
    let worker = told(&database).task(fail).build().await.unwrap();
    assert_eq!(wait(&worker, old.id).await.tasks.len(), 2);
    assert_eq!(wait(&worker, new.id).await.tasks.len(), 1);
}

#[tokio::test]
async fn an_end_on_another_engine_is_told_to_who_waits_here() {
    let database = database().await;
    let waits = told(&database).build().await.unwrap();
    let works = ready(&database).await;
    let id = waits.start(StartRequest::new("one").input(json!({"value": 7}))).await.unwrap().id;
    let soon = tokio::time::timeout(SECOND * 5, waits.result(id)).await.unwrap().unwrap();
    assert_eq!(soon, json!({"from_start": 7}));
    assert_eq!(works.get(id).await.unwrap().status, WorkflowStatus::Completed);
    until_task(&waits, id, "work_0", "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_says_what_a_second_start_under_a_key_does() {
    let database = database().await;
    let engine = crate::common::engine(&database).build().await.unwrap();
    engine.register_workflow(&line("w", &["nobody"])).await.unwrap();
    let request = |strategy: IdempotencyStrategy, input: Value| {
        StartRequest::new("w").input(input).idempotency_key("k").idempotency_strategy(strategy)
    };
    let fail = request(IdempotencyStrategy::Fail, json!({}));
    let first = engine.start(fail.clone()).await.unwrap();
    assert!(!first.existed);
    let used = |done: Result<Started, Error>| {
        let found =
            matches!(&done, Err(Error::IdempotencyKeyUsed { first: f, .. }) if *f == first.id);
        assert!(found, "{done:?}");
    };
    used(engine.start(fail.clone()).await);
    used(engine.start_many(vec![fail.clone()]).await.map(|mut all| all.remove(0)));
    let existing = request(IdempotencyStrategy::ReturnExisting, json!({"other": 1}));
    let again = engine.start(existing).await.unwrap();
    assert_eq!((again.id, again.existed), (first.id, true));
    let running = request(IdempotencyStrategy::FailOnRunning, json!({}));
    used(engine.start(running.clone()).await);
    engine.terminate(first.id, "enough").await.unwrap();
    used(engine.start(fail.clone()).await);
    let second = engine.start(running.clone()).await.unwrap();
    assert!(!second.existed && second.id != first.id);
    engine.terminate(second.id, "enough").await.unwrap();
    let third = engine.start_many(vec![running]).await.unwrap().remove(0);
    assert!(!third.existed && third.id != second.id);
    assert_eq!(engine.get(first.id).await.unwrap().idempotency_key.as_deref(), Some("k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_workflow_without_a_version_is_that_of_the_moment_its_parent_was_started() {
    let database = database().await;
    let engine = crate::common::engine(&database).build().await.unwrap();
    let version = |version: i32| {
        let text = json!({ "name": "child", "version": version, "tasks": [
            { "name": "n", "taskReferenceName": "n", "type": "NOOP" },
        ]});
        WorkflowDef::from_json(&text.to_string()).unwrap()
    };
    let parent = json!({ "name": "parent", "tasks": [
        { "name": "h", "taskReferenceName": "h", "type": "HUMAN" },
        { "name": "s", "taskReferenceName": "s", "type": "SUB_WORKFLOW",
          "subWorkflowParam": { "name": "child" } },
    ]});
    let parent = WorkflowDef::from_json(&parent.to_string()).unwrap();
    engine.register(&[], &[version(1), version(2), parent]).await.unwrap();
    let before = engine.start(StartRequest::new("parent")).await.unwrap().id;
    engine.register_workflow(&version(3)).await.unwrap();
    let after = engine.start(StartRequest::new("parent")).await.unwrap().id;
    for (id, expected) in [(before, 2), (after, 3)] {
        engine.signal(id, "h", Signal::completed(json!({}))).await.unwrap();
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        assert_eq!(run.task("s").unwrap().input_data["subWorkflowVersion"], expected);
    }
}
