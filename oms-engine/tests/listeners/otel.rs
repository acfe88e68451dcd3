//! The engine's spans as OpenTelemetry gets them.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use oms_engine::telemetry::EngineSpans;
use oms_engine::{
    Engine, StartRequest, TaskDef, TaskError, TraceContext, WorkflowDef, WorkflowId, WorkflowTask,
};
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use serde_json::{Value, json};

use crate::GIVEN;
use crate::common::script::{Notes, Work};
use crate::common::{database, engine, wait};
use crate::spans::{BookAll, listen};

static ENDED: Mutex<Vec<SpanData>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Keeps;

impl SpanProcessor for Keeps {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        ENDED.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Of the provider of this process.
pub(crate) fn tracer() -> SdkTracer {
    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
    let made = || SdkTracerProvider::builder().with_span_processor(EngineSpans::new(Keeps)).build();
    PROVIDER.get_or_init(made).tracer("tests")
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.as_str().into_owned()).unwrap_or_default()
}

fn trace_of(span: &SpanData) -> u128 {
    u128::from_be_bytes(span.span_context.trace_id().to_bytes())
}

fn id_of(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.span_context.span_id().to_bytes())
}

fn parent_of(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.parent_span_id.to_bytes())
}

/// Waits until so many spans of a trace have ended.
async fn spans_of(trace_id: u128, count: usize) -> Vec<SpanData> {
    let begun = std::time::Instant::now();
    loop {
        let ended = ENDED.lock().unwrap().clone();
        let seen: Vec<_> = ended.into_iter().filter(|span| trace_of(span) == trace_id).collect();
        if seen.len() >= count {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn working(database: &oms_engine::testkit::TestDatabase, notes: &Notes) -> Engine {
    listen();
    let notes = notes.clone();
    let work = Work::new(move |cx, input: Value| {
        let notes = notes.clone();
        async move {
            let inside = tracing::info_span!("inside");
            notes.add("inside", &inside.in_scope(TraceContext::current).unwrap());
            drop(inside);
            notes.add("task", &cx.trace().unwrap());
            assert_eq!(cx.trace(), TraceContext::current());
            if input["fails"] == json!(true) {
                Err(TaskError::terminal("no"))
            } else {
                Ok(json!({}))
            }
        }
    });
    let engine = engine(database).task(work).transactional_batch_task(BookAll);
    let engine =
        engine.task_batch_wait("book_all", Duration::from_millis(200)).build().await.unwrap();
    let policy = TaskDef::new("work").retry_count(0);
    let step = WorkflowTask::simple("work", "step")
        .definition(policy)
        .input("fails", "${workflow.input.fails}");
    let child = WorkflowDef::builder("child").task(step).build().unwrap();
    let parent = WorkflowDef::builder("parent")
        .task(WorkflowTask::sub_workflow("below", "child").input("fails", true));
    engine.register(&[], &[child, parent.build().unwrap()]).await.unwrap();
    engine
}

/// Of a trace that no other test has.
fn given(id: u128) -> TraceContext {
    TraceContext::new(id, GIVEN.parse::<TraceContext>().unwrap().span_id(), 1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_runs_and_tasks_stand_below_each_other() {
    let database = database().await;
    let notes = Notes::default();
    let engine = working(&database, &notes).await;
    let given = given(0xabc);
    let request = StartRequest::new("parent").trace(given.clone());
    let run = wait(&engine, engine.start(request).await.unwrap().id).await;
    let child: WorkflowId =
        serde_json::from_value(run.task("below").unwrap().output_data["subWorkflowId"].clone())
            .unwrap();
    let child = engine.get(child).await.unwrap();
    let spans = spans_of(0xabc, 4).await;
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let [parent, below] = [of("workflow parent"), of("workflow child")];
    let [task, inside] = [of("task step"), of("inside")];
    assert_eq!((id_of(parent), parent_of(parent)), (run.trace.span_id(), given.span_id()));
    assert_eq!((id_of(below), parent_of(below)), (child.trace.span_id(), id_of(parent)));
    assert_eq!(parent_of(task), id_of(below));
    assert_eq!(parent_of(inside), id_of(task));
    for span in [parent, below, task] {
        assert!(
            matches!(&span.status, Status::Error { description } if description.contains("no")),
            "{span:#?}"
        );
        assert!(
            span.attributes.iter().all(|attribute| !attribute.key.as_str().starts_with("oms.")),
            "{span:#?}"
        );
        assert!(span.end_time >= span.start_time, "{span:#?}");
    }
    assert_eq!(attribute(below, "status"), "FAILED");
    assert_eq!(attribute(task, "outcome"), "terminal");
    // The runs last for as long as their tasks.
    assert!(parent.start_time <= below.start_time && below.start_time <= task.start_time);
    // What a task passes on is its own span.
    assert_eq!(
        notes.of("task"),
        [given.to_string().replace(&GIVEN[36..52], &format!("{:016x}", id_of(task)))]
    );
    assert_eq!(
        notes.of("inside"),
        [given.to_string().replace(&GIVEN[36..52], &format!("{:016x}", id_of(inside)))]
    );
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_trace_that_nobody_records_is_not_recorded() {
    let database = database().await;
    let engine = working(&database, &Notes::default()).await;
    let [silent, told] =
        [(0xdef, 0), (0xdff, 1)].map(|(id, flags)| TraceContext::new(id, 7, flags).unwrap());
    for trace in [silent, told] {
        let request = StartRequest::new("child").trace(trace);
        wait(&engine, engine.start(request).await.unwrap().id).await;
    }
    spans_of(0xdff, 3).await;
    assert!(ENDED.lock().unwrap().iter().all(|span| trace_of(span) != 0xdef));
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_a_trace_of_its_own_with_links_to_its_tasks() {
    let database = database().await;
    let engine = working(&database, &Notes::default()).await;
    let of = |n: usize| vec![WorkflowTask::simple("book_all", format!("t{n}"))];
    let def = WorkflowDef::builder("forked").task(WorkflowTask::fork("fork", (0..2).map(of)));
    let def = def.task(WorkflowTask::join("join", ["t0", "t1"])).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("forked")).await.unwrap().id;
    wait(&engine, id).await;
    let trace_id = id.as_uuid().as_u128();
    let spans = spans_of(trace_id, 3).await;
    let mut tasks: Vec<_> =
        spans.iter().filter(|span| span.name.starts_with("task t")).map(id_of).collect();
    tasks.sort_unstable();
    let ended = ENDED.lock().unwrap().clone();
    let linked = |span: &SpanData| {
        let of_run = span
            .links
            .iter()
            .filter(|link| link.span_context.trace_id().to_bytes() == trace_id.to_be_bytes());
        let mut ids: Vec<_> =
            of_run.map(|link| u64::from_be_bytes(link.span_context.span_id().to_bytes())).collect();
        ids.sort_unstable();
        ids
    };
    let batch = ended.iter().find(|span| span.name == "batch" && linked(span) == tasks);
    let batch = Arc::new(batch.unwrap().clone());
    assert_eq!(attribute(&batch, "tasks"), "2");
    assert_ne!(trace_of(&batch), trace_id);
    engine.shutdown(Duration::ZERO).await;
}
