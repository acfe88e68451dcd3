//! Task domains, isolation groups and namespaces: who gets what.

use std::time::Duration;

use crate::common::script::{Answer, Notes, Undo, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, line, until, wait};
use oms_engine::{Error, Serving, StartRequest, TaskContext, TaskDef, TaskError, WorkflowStatus};
use serde_json::{Value, json};

/// A worker that notes under which name it ran what.
fn noting(notes: &Notes, name: &'static str) -> Work {
    let notes = notes.clone();
    Work::new(move |cx: TaskContext, _input: Value| {
        let notes = notes.clone();
        async move {
            notes.add(name, cx.reference_name());
            Answer::Ok(json!({ "by": name }))
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_get_the_tasks_of_their_domain_alone_in_whatever_engine() {
    let database = database().await;
    let notes = Notes::default();
    let place = |domain: &str| Serving::new().domain(domain);
    let first = told(&database).task(noting(&notes, "none")).build().await.unwrap();
    let _second = told(&database)
        .task_in(noting(&notes, "eu"), place("eu"))
        .task_in(noting(&notes, "us"), place("us"))
        .build()
        .await
        .unwrap();
    first.register_workflow(&line("two", &["work", "work"])).await.unwrap();
    for (domains, by) in [(None, "none"), (Some("eu"), "eu"), (Some("asia,us"), "us")] {
        let mut request = StartRequest::new("two");
        if let Some(domains) = domains {
            request = request.task_to_domain("work", domains);
        }
        let run = wait(&first, first.start(request).await.unwrap().id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        assert_eq!(run.task_to_domain.get("work").map(String::as_str), domains);
        for task in &run.tasks {
            assert_eq!(task.output_data, json!({ "by": by }), "{domains:?}");
            assert_eq!((&*task.task_type, &*task.task_def_name), ("work", "work"));
            assert_eq!(task.domain.as_deref(), (by != "none").then_some(by));
        }
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_counts_as_served_for_ten_seconds_after_its_worker_has_gone() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let notes = Notes::default();
    let eu = Serving::new().domain("eu");
    let first = told(&database).task(noting(&notes, "none")).build().await.unwrap();
    let second = told(&database).task_in(noting(&notes, "eu"), eu.clone()).build().await.unwrap();
    first.register_workflow(&line("one", &["work"])).await.unwrap();
    let request = || StartRequest::new("one").task_to_domain("*", "eu,NO_DOMAIN");
    let domain = async |id| wait(&first, id).await.task("work_0").unwrap().domain.clone();
    let id = second.start(request()).await.unwrap().id;
    assert_eq!(domain(id).await.as_deref(), Some("eu"));
    second.shutdown(Duration::ZERO).await;
    // As if that had been a while ago; the first engine hears of it with its heartbeat.
    let gone = "UPDATE oms_engine.worker_polls SET polled_at = polled_at - interval '11 seconds'";
    client.batch_execute(gone).await.unwrap();
    let beat = "SELECT bool_and(heartbeat_at > (SELECT max(polled_at) + interval '11.5 seconds'
        FROM oms_engine.worker_polls WHERE domain <> '')) FROM oms_engine.sessions WHERE dead_at IS NULL";
    until(&client, beat).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let id = first.start(request()).await.unwrap().id;
    assert_eq!(domain(id).await, None);
    let third = told(&database).task_in(noting(&notes, "eu"), eu).build().await.unwrap();
    let id = third.start(request()).await.unwrap().id;
    assert_eq!(domain(id).await.as_deref(), Some("eu"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_workflow_has_the_domains_of_the_run_that_failed() {
    let database = database().await;
    let fails = Work::new(|_cx, _input| async { Answer::Err(TaskError::terminal("no")) });
    let undo = Undo::new(|_cx, _input| async { Ok(json!({})) });
    let eu = || Serving::new().domain("eu");
    let engine = told(&database).task_in(fails, eu()).task_in(undo, eu()).build().await.unwrap();
    let mut fails = line("fails", &["work"]);
    fails.failure_workflow = Some("undoes".to_owned());
    engine.register(&[], &[line("undoes", &["undo"]), fails]).await.unwrap();
    let request = StartRequest::new("fails").task_to_domain("*", "eu");
    let run = wait(&engine, engine.start(request).await.unwrap().id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let undone = wait(&engine, run.failure_workflow_id.unwrap()).await;
    assert_eq!(undone.task("undo_0").unwrap().domain.as_deref(), Some("eu"));
    assert_eq!(undone.task_to_domain, run.task_to_domain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_and_a_namespace_are_served_by_those_who_say_so() {
    let database = database().await;
    let notes = Notes::default();
    let place = Serving::new().execution_name_space("x").isolation_group("g");
    let common = told(&database).task(noting(&notes, "common")).build().await.unwrap();
    let mut def = TaskDef::new("work");
    def.isolation_group_id = Some("g".to_owned());
    def.execution_name_space = Some("x".to_owned());
    common.register(&[def], &[line("two", &["work", "work"])]).await.unwrap();
    let request = || StartRequest::new("two").task_to_domain("work", "eu");
    let plain = common.start(StartRequest::new("two")).await.unwrap().id;
    let in_domain = common.start(request()).await.unwrap().id;
    until_task(&common, plain, "work_0", "SCHEDULED").await;
    let apart = told(&database)
        .task_in(noting(&notes, "apart"), place.clone())
        .task_in(noting(&notes, "eu apart"), place.domain("eu"))
        .build()
        .await
        .unwrap();
    for (id, by, domain) in [(plain, "apart", None), (in_domain, "eu apart", Some("eu"))] {
        let run = wait(&apart, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        for task in &run.tasks {
            assert_eq!(task.output_data, json!({ "by": by }));
            assert_eq!((&*task.task_type, &*task.task_def_name), ("work", "work"));
            assert_eq!(task.domain.as_deref(), domain);
        }
    }
    let client = database.connect().await.unwrap();
    let row = client
        .query_one("SELECT count(DISTINCT queue) FROM oms_engine.task_history", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    assert!(notes.of("common").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_share_their_task_s_limit_over_engines() {
    let database = database().await;
    let work = || {
        Work::new(|_cx, _input| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Answer::Ok(json!({}))
        })
    };
    let eu = Serving::new().domain("eu");
    let first = told(&database).task(work()).build().await.unwrap();
    let second = told(&database).task_in(work(), eu).build().await.unwrap();
    let mut def = TaskDef::new("work");
    def.concurrent_exec_limit = Some(1);
    first.register(&[def], &[line("two", &["work", "work"])]).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..40 {
        let request = StartRequest::new("two");
        let request = if n % 2 == 0 { request.task_to_domain("*", "eu") } else { request };
        ids.push(first.start(request).await.unwrap().id);
    }
    for id in ids {
        assert_eq!(wait(&second, id).await.status, WorkflowStatus::Completed);
    }
    let client = database.connect().await.unwrap();
    let sql = "SELECT max(n) FROM (
        SELECT count(*) AS n FROM oms_engine.task_history a JOIN oms_engine.task_history b
            ON b.started_at <= a.started_at AND b.ended_at > a.started_at
        GROUP BY a.workflow_id, a.reference_name) x";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn what_no_queue_can_be_named_by_is_refused() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    for (domains, part) in [("a:b", "\"a:b\""), ("", "no domain")] {
        let request = StartRequest::new("one").task_to_domain("work", domains);
        let refused = engine.start(request).await.unwrap_err();
        assert!(matches!(refused, Error::InvalidInput { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("taskToDomain \"work\"") && text.contains(part), "{text}");
    }
    for place in [Serving::new().domain("a:b"), Serving::new().isolation_group("")] {
        let work = Work::new(|_cx, _input| async { Answer::Ok(json!({})) });
        let refused = told(&database).task_in(work, place).build().await.unwrap_err();
        assert!(matches!(refused, Error::Config(_)), "{refused}");
    }
}
