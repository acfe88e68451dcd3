//! A run's trace is that of all it leads to, and is kept only where it does not follow from ids.

use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Execution, RestartOptions, RetryOptions, StartRequest, TaskDef, TaskError,
    TraceContext, WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::script::{After, Notes, Undo, Work};
use crate::common::{database, engine, until, wait};

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn given() -> TraceContext {
    GIVEN.parse::<TraceContext>().unwrap().with_tracestate("shop=7")
}

/// A workflow that starts every kind of other one, and fails.
fn definitions() -> [WorkflowDef; 4] {
    let work = |reference: &str| WorkflowTask::simple("work", reference);
    let fails = TaskDef::new("after").retry_count(0);
    let one = |name: &str| WorkflowDef::builder(name).task(work("only")).build().unwrap();
    let family = WorkflowDef::builder("family")
        .task(work("first").undone_by(WorkflowTask::simple("undo", "")))
        .task(WorkflowTask::sub_workflow("below", "child"))
        .task(WorkflowTask::start_workflow("beside", "other", json!({})))
        .task(WorkflowTask::simple("after", "last").definition(fails))
        .failure_workflow("unwinding");
    [one("child"), one("other"), one("unwinding"), family.build().unwrap()]
}

/// Notes what each task is told of its trace, by its run and reference name.
async fn noting(database: &TestDatabase) -> (Engine, Notes) {
    let notes = Notes::default();
    let (work, undo, after) = (notes.clone(), notes.clone(), notes.clone());
    let note = |notes: &Notes, cx: &oms_engine::TaskContext| {
        let trace = cx.trace().unwrap();
        let state = trace.tracestate().unwrap_or_default();
        let name = format!("{} {}", cx.workflow_id(), cx.reference_name());
        notes.add(&name, &format!("{trace} {state}"));
    };
    let engine = engine(database)
        .task(Work::new(move |cx, _| {
            note(&work, &cx);
            async { Ok(json!({})) }
        }))
        .task(Undo::new(move |cx, _| {
            note(&undo, &cx);
            async { Ok(json!({})) }
        }))
        .task(After::new(move |cx, _| {
            note(&after, &cx);
            async { Err(TaskError::terminal("no")) }
        }))
        .build()
        .await
        .unwrap();
    engine.register(&[], &definitions()).await.unwrap();
    (engine, notes)
}

/// The run and what it led to: its child, the one beside it, its failure workflow.
async fn family_of(engine: &Engine, id: WorkflowId) -> [Execution; 4] {
    let run = wait(engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed, "{run:#?}");
    let of = |task: &str, key: &str| -> WorkflowId {
        run.task(task)
            .unwrap()
            .output_data
            .get(key)
            .and_then(Value::as_str)
            .unwrap()
            .parse()
            .unwrap()
    };
    let (child, other) = (of("below", "subWorkflowId"), of("beside", "workflowId"));
    let failure = run.failure_workflow_id.unwrap();
    [run, wait(engine, child).await, wait(engine, other).await, wait(engine, failure).await]
}

fn assert_told(notes: &Notes, run: &Execution) {
    let state = run.trace.tracestate().unwrap_or_default();
    let told = format!("{} {state}", run.trace);
    let tasks =
        run.tasks.iter().filter(|task| !["below", "beside"].contains(&&*task.reference_task_name));
    let mut seen = 0;
    for task in tasks {
        let name = format!("{} {}", run.workflow_id, task.reference_task_name);
        assert_eq!(notes.of(&name), std::slice::from_ref(&told), "{name} of {}", run.workflow_name);
        seen += 1;
    }
    assert!(seen > 0, "{run:#?}");
}

async fn kept(database: &TestDatabase, id: WorkflowId) -> Option<Value> {
    let client = database.connect().await.unwrap();
    let sql = "SELECT trace FROM oms_engine.workflows WHERE id = $1";
    client.query_one(sql, &[&id.as_uuid()]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_trace_is_that_of_every_task_sub_workflow_and_undoing() {
    let database = database().await;
    let (engine, notes) = noting(&database).await;
    let id = engine.start(StartRequest::new("family").trace(given())).await.unwrap().id;
    let family = family_of(&engine, id).await;
    let [run, others @ ..] = &family;
    assert!(run.task("first_undo").is_some(), "{run:#?}");
    for one in &family {
        assert_eq!(one.trace.trace_id(), given().trace_id(), "{}", one.workflow_name);
        assert_eq!(one.trace.tracestate(), Some("shop=7"), "{}", one.workflow_name);
        assert_told(&notes, one);
    }
    assert_eq!(kept(&database, id).await, Some(json!(given())));
    // What the run leads to stands below the run.
    for other in others {
        assert_ne!(other.trace.span_id(), run.trace.span_id());
        let above = kept(&database, other.workflow_id).await;
        assert_eq!(above, Some(json!(run.trace)), "{}", other.workflow_name);
    }
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_given_trace_a_run_begins_one_of_its_own_id_and_nothing_is_kept() {
    let database = database().await;
    let (engine, notes) = noting(&database).await;
    let id = engine.start(StartRequest::new("family")).await.unwrap().id;
    let family = family_of(&engine, id).await;
    let [run, child, ..] = &family;
    for one in &family {
        assert_eq!(one.trace.trace_id(), id.as_uuid().as_u128(), "{}", one.workflow_name);
        assert!(one.trace.is_sampled());
        assert_told(&notes, one);
    }
    assert_ne!(child.trace.span_id(), run.trace.span_id());
    for one in [run, child] {
        assert_eq!(kept(&database, one.workflow_id).await, None, "{}", one.workflow_name);
    }
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_brought_back_stays_in_its_trace_with_a_span_of_its_own() {
    let database = database().await;
    let (engine, notes) = noting(&database).await;
    let [id, other] =
        [engine.start(StartRequest::new("family")), engine.start(StartRequest::new("family"))];
    let (id, other) = (id.await.unwrap().id, other.await.unwrap().id);
    let client = database.connect().await.unwrap();
    for id in [id, other] {
        family_of(&engine, id).await;
        let first = engine.get(id).await.unwrap().trace;
        if id == other {
            engine.restart(id, RestartOptions::default()).await.unwrap();
        } else {
            engine.retry(id, RetryOptions::default()).await.unwrap();
        }
        until(&client, &format!("SELECT status = 3 FROM oms_engine.workflows WHERE id = '{id}'"))
            .await;
        let again = engine.get(id).await.unwrap();
        assert_eq!(again.trace.trace_id(), first.trace_id());
        assert_ne!(again.trace.span_id(), first.span_id());
        let told = notes.of(&format!("{id} last"));
        assert_eq!(told, [format!("{first} "), format!("{} ", again.trace)]);
        // Its children of then on stand below the span of then on.
        let child = again.task("below").unwrap().output_data["subWorkflowId"].clone();
        let child: WorkflowId = serde_json::from_value(child).unwrap();
        assert_eq!(kept(&database, child).await, Some(json!(again.trace)));
    }
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_cannot_be_read_holds_up_nothing() {
    let database = database().await;
    let notes = Notes::default();
    let engine = engine(&database).build().await.unwrap();
    let [child, ..] = definitions();
    engine.register_workflow(&child).await.unwrap();
    let id = engine.start(StartRequest::new("child").trace(given())).await.unwrap().id;
    let client = database.connect().await.unwrap();
    let sql = "UPDATE oms_engine.workflows SET trace = '{\"traceparent\": \"no\"}'";
    client.execute(sql, &[]).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    let told = notes.clone();
    let work = Work::new(move |cx, _| {
        told.add("trace", &cx.trace().unwrap());
        async { Ok(json!({})) }
    });
    let engine = crate::common::engine(&database).task(work).build().await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    let own = format!("00-{}-", id.as_uuid().simple());
    assert!(notes.of("trace")[0].starts_with(&own), "{:?}", notes.of("trace"));
    engine.shutdown(Duration::ZERO).await;
}
