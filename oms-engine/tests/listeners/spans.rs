//! Spans of the engine, as any subscriber of `tracing` sees them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use oms_engine::tokio_postgres::Transaction;
use oms_engine::{
    Engine, RetryOptions, StartRequest, TaskContext, TaskDef, TaskError, TransactionalBatchTask,
    TransactionalTask, WorkflowDef, WorkflowId, WorkflowTask,
};
use serde_json::{Value, json};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::GIVEN;
use crate::common::script::Work;
use crate::common::{database, engine, wait};

/// A span that has closed.
#[derive(Clone, Debug)]
struct Seen {
    name: &'static str,
    /// All that it may have.
    declared: Vec<&'static str>,
    fields: BTreeMap<&'static str, String>,
    /// What was said in it.
    said: usize,
    follows: usize,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

struct Reader<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

static CLOSED: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// Keeps the spans of the engine when they close.
struct Keeper;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let meta = attributes.metadata();
        if !meta.target().starts_with("oms_engine") {
            return;
        }
        let declared = meta.fields().iter().map(|field| field.name()).collect();
        let mut fields = BTreeMap::new();
        attributes.record(&mut Reader(&mut fields));
        let seen = Seen { name: meta.name(), declared, fields, said: 0, follows: 0 };
        cx.span(id).unwrap().extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if let Some(seen) = cx.span(id).unwrap().extensions_mut().get_mut::<Seen>() {
            values.record(&mut Reader(&mut seen.fields));
        }
    }

    fn on_follows_from(&self, id: &Id, _: &Id, cx: Context<'_, S>) {
        if let Some(seen) = cx.span(id).unwrap().extensions_mut().get_mut::<Seen>() {
            seen.follows += 1;
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        if event.metadata().target().starts_with("listeners")
            && let Some(span) = cx.event_span(event)
            && let Some(seen) = span.extensions_mut().get_mut::<Seen>()
        {
            seen.said += 1;
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        CLOSED.lock().unwrap().extend(cx.span(&id).unwrap().extensions_mut().remove::<Seen>());
    }
}

pub(crate) fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    let layer = || tracing_opentelemetry::layer().with_tracer(crate::otel::tracer());
    LISTENS.get_or_init(|| tracing_subscriber::registry().with(Keeper).with(layer()).init());
}

/// Waits until so many spans of a run have closed: that may be a moment after its end is known.
async fn spans_of(id: WorkflowId, count: usize) -> Vec<Seen> {
    let id = id.to_string();
    let of_run = |seen: &&Seen| seen.field("workflow_id") == id;
    let begun = std::time::Instant::now();
    loop {
        let seen: Vec<Seen> = CLOSED.lock().unwrap().iter().filter(of_run).cloned().collect();
        if seen.len() >= count {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Book;

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        _: &TaskContext,
        _: &Transaction<'_>,
        _: Value,
    ) -> Result<Value, TaskError> {
        tracing::info!("at work");
        Ok(json!({}))
    }
}

pub(crate) struct BookAll;

impl TransactionalBatchTask for BookAll {
    const NAME: &'static str = "book_all";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        _: &Transaction<'_>,
        tasks: Vec<(TaskContext, Value)>,
    ) -> Result<Vec<Result<Value, TaskError>>, TaskError> {
        tracing::info!("at work");
        let of = |(cx, input): &(TaskContext, Value)| match input["fails"].as_bool() {
            Some(true) => Err(TaskError::terminal(format!("not {}", cx.reference_name()))),
            _ => Ok(json!({})),
        };
        Ok(tasks.iter().map(of).collect())
    }
}

async fn working(database: &oms_engine::testkit::TestDatabase) -> Engine {
    listen();
    let work = Work::new(|cx, input: Value| async move {
        tracing::info!("at work");
        match input["do"].as_str() {
            Some("retry") if cx.attempt() == 0 => Err(TaskError::retry("once more")),
            Some("end") => Err(TaskError::terminal("never")),
            _ => Ok(json!({})),
        }
    });
    engine(database)
        .name("here")
        .task(work)
        .transactional_task(Book)
        .transactional_batch_task(BookAll)
        .task_batch_wait("book_all", Duration::from_millis(200))
        .build()
        .await
        .unwrap()
}

fn steps(name: &str) -> WorkflowDef {
    let policy = TaskDef::new("work").retry_count(1).retry_delay(Duration::ZERO);
    let work = WorkflowTask::simple("work", "plain").definition(policy);
    WorkflowDef::builder(name)
        .task(work.input("do", "${workflow.input.do}"))
        .task(WorkflowTask::simple("book", "own"))
        .task(WorkflowTask::simple("book_all", "alone"))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_and_each_run_has_a_span() {
    let database = database().await;
    let engine = working(&database).await;
    engine.register_workflow(&steps("steps")).await.unwrap();
    let request = StartRequest::new("steps").input(json!({"do": "retry"}));
    let id = engine.start(request.trace(GIVEN.parse().unwrap())).await.unwrap().id;
    let run = wait(&engine, id).await;
    let spans = spans_of(id, 5).await;
    let mut tasks: Vec<_> = spans.iter().filter(|span| span.name == "task").collect();
    tasks.sort_by_key(|span| (span.field("task") != "plain", span.field("attempt").to_owned()));
    let seen: Vec<_> =
        tasks.iter().map(|s| (s.field("task"), s.field("outcome"), s.said)).collect();
    assert_eq!(seen[..2], [("plain", "failed", 1), ("plain", "completed", 1)]);
    for (task, queue) in [("plain", "work"), ("own", "book"), ("alone", "book_all")] {
        let span = tasks.iter().rfind(|span| span.field("task") == task).unwrap();
        for (field, value) in [
            ("workflow", "steps"),
            ("queue", queue),
            ("worker", "here"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("outcome", "completed"),
            ("otel.kind", "consumer"),
            ("otel.status_code", ""),
        ] {
            assert_eq!(span.field(field), value, "{field} of {span:#?}");
        }
        assert_eq!(span.said, 1, "{span:#?}");
    }
    assert_eq!(tasks[0].field("otel.status_code"), "error");
    assert_eq!(tasks[0].field("otel.status_description"), "once more");
    let [whole] = &spans.iter().filter(|span| span.name == "workflow").collect::<Vec<_>>()[..]
    else {
        unreachable!("{spans:#?}")
    };
    let began: i64 = whole.field("oms.began_ms").parse().unwrap();
    assert!((run.create_time.timestamp_millis() - began).abs() < 60_000, "{whole:#?}");
    for (field, value) in [
        ("workflow", "steps"),
        ("status", "COMPLETED"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("oms.span_id", &format!("{:016x}", run.trace.span_id())),
        ("oms.parent_span_id", "00f067aa0ba902b7"),
        ("otel.status_code", ""),
    ] {
        assert_eq!(whole.field(field), value, "{field} of {whole:#?}");
    }
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_why_and_has_another_span_when_it_is_brought_back() {
    let database = database().await;
    let engine = working(&database).await;
    engine.register_workflow(&steps("failing")).await.unwrap();
    let request = StartRequest::new("failing").input(json!({"do": "end"}));
    let id = engine.start(request).await.unwrap().id;
    let first = wait(&engine, id).await.trace.span_id();
    spans_of(id, 2).await;
    engine.retry(id, RetryOptions::default()).await.unwrap();
    let spans = spans_of(id, 4).await;
    let runs: Vec<_> = spans.iter().filter(|span| span.name == "workflow").collect();
    let second = engine.get(id).await.unwrap().trace.span_id();
    for (span, id) in runs.iter().zip([first, second]) {
        assert_eq!(span.field("oms.span_id"), format!("{id:016x}"));
        assert_eq!((span.field("status"), span.field("otel.status_code")), ("FAILED", "error"));
        assert!(span.field("otel.status_description").ends_with("'never'"), "{span:#?}");
        assert_eq!(span.field("oms.parent_span_id"), "");
    }
    let began = |n: usize| runs[n].field("oms.began_ms").parse::<i64>().unwrap();
    assert!(began(1) > began(0), "{runs:#?}");
    let task = spans.iter().find(|span| span.name == "task").unwrap();
    assert_eq!((task.field("outcome"), task.field("otel.status_code")), ("terminal", "error"));
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_follows_from_its_tasks_and_each_of_them_has_its_own_outcome() {
    let database = database().await;
    let engine = working(&database).await;
    let of = |n: usize| {
        let policy = TaskDef::new("book_all").retry_count(0);
        let step = WorkflowTask::simple("book_all", format!("t{n}")).definition(policy);
        vec![step.input("fails", n == 1).optional()]
    };
    let def = WorkflowDef::builder("forked").task(WorkflowTask::fork("fork", (0..3).map(of)));
    let def = def.task(WorkflowTask::join("join", ["t0", "t1", "t2"])).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("forked")).await.unwrap().id;
    wait(&engine, id).await;
    let spans = spans_of(id, 4).await;
    for (task, outcome) in [("t0", "completed"), ("t1", "terminal"), ("t2", "completed")] {
        let of_task: Vec<_> = spans.iter().filter(|span| span.field("task") == task).collect();
        assert_eq!(of_task.len(), 1, "{spans:#?}");
        assert_eq!(of_task[0].field("outcome"), outcome, "{spans:#?}");
    }
    let closed = CLOSED.lock().unwrap().clone();
    let batches: Vec<_> = closed.iter().filter(|span| span.name == "batch").collect();
    let first = batches.iter().find(|span| span.field("tasks") == "3").unwrap();
    assert_eq!((first.follows, first.said, first.field("queue")), (3, 1, "book_all"));
    engine.shutdown(Duration::ZERO).await;
}

/// The names between backticks in the first column of the tables below a heading.
fn told(heading: &str) -> Vec<String> {
    let guide = include_str!("../../../docs/traces.md");
    let (_, below) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    let below = below.split("\n## ").next().unwrap();
    let rows = below.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_tells_every_field_of_every_span() {
    let database = database().await;
    let engine = working(&database).await;
    engine.register_workflow(&steps("told")).await.unwrap();
    let id = engine.start(StartRequest::new("told")).await.unwrap().id;
    let spans = spans_of(id, 4).await;
    for (name, heading) in [("workflow", "The span `workflow`"), ("task", "The span `task`")] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        let mut declared = span.declared.clone();
        let mut told = told(heading);
        declared.sort_unstable();
        told.sort_unstable();
        assert_eq!(declared, told, "{name}");
    }
    engine.shutdown(Duration::ZERO).await;
}
