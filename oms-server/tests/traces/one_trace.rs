//! One trace covers a start, every task in every process, a process that is killed, and undoing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, StartRequest, TaskDef, TraceContext, WorkflowDef, WorkflowStatus, WorkflowTask,
};

use crate::collector::{Collector, Told};
use crate::worker::{Folder, Worker};

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn order() -> WorkflowDef {
    let fails = TaskDef::new("refuse").retry_count(0);
    WorkflowDef::builder("order")
        .task(WorkflowTask::simple("book", "first").undone_by(WorkflowTask::simple("unbook", "")))
        .task(WorkflowTask::simple("hold", "held"))
        .task(WorkflowTask::simple("book", "second").undone_by(WorkflowTask::simple("unbook", "")))
        .task(WorkflowTask::simple("refuse", "last").definition(fails))
        .build()
        .unwrap()
}

fn named<'a>(spans: &'a [Told], name: &str) -> &'a Told {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_covers_start_tasks_of_two_processes_a_kill_and_compensation() {
    let (collector, folder) = (Collector::start(), Folder::new("one"));
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let launch = |role| Worker::start(database.url(), &collector.url, role, folder.path());
    let (first, second) = (launch(1), launch(2));
    let killed = second.instance();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register_workflow(&order()).await.unwrap();
    let given: TraceContext = GIVEN.parse().unwrap();
    let id = engine.start(StartRequest::new("order").trace(given)).await.unwrap().id;
    let begun = Instant::now();
    while !folder.path().join("held").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody holds the task");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.kill();
    let third = launch(2);
    let run =
        tokio::time::timeout(Duration::from_secs(60), engine.wait(id)).await.unwrap().unwrap();
    assert_eq!(run.status, WorkflowStatus::Failed, "{run:#?}");
    let (booked, held) = (first.instance(), third.instance());
    first.stop();
    third.stop();
    let ended = |spans: &[Told]| spans.iter().any(|span| span.name == "workflow order");
    let spans = collector.wait("the run's span", ended);
    for span in &spans {
        assert_eq!(span.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736", "{span:#?}");
        assert_eq!(span.service, "oms-server");
        assert!(span.started <= span.ended, "{span:#?}");
    }
    let whole = named(&spans, "workflow order");
    assert_eq!(whole.id, format!("{:016x}", run.trace.span_id()));
    assert_eq!(whole.parent, "00f067aa0ba902b7");
    assert!(whole.failed && whole.attribute("status") == "FAILED", "{whole:#?}");
    for (name, by, failed) in [
        ("task first", &booked, false),
        ("task held", &held, false),
        ("task second", &booked, false),
        ("task last", &held, true),
        ("task second_undo", &booked, false),
        ("task first_undo", &booked, false),
    ] {
        let task = named(&spans, name);
        assert_eq!((&task.parent, &task.instance), (&whole.id, by), "{task:#?}");
        assert_eq!(task.attribute("worker"), *by);
        assert_eq!(
            (task.failed, task.attribute("workflow_id")),
            (failed, id.to_string()),
            "{task:#?}"
        );
    }
    // Whoever stands in a task stands below it.
    let inside: BTreeSet<_> =
        spans.iter().filter(|span| span.name == "inside").map(|s| &s.parent).collect();
    let booking = ["task first", "task second"].map(|name| &named(&spans, name).id);
    assert_eq!(inside, BTreeSet::from(booking));
    assert_eq!(spans.len(), 9, "{spans:#?}");
    assert!(spans.iter().all(|span| span.instance != killed), "{spans:#?}");
    engine.shutdown(Duration::ZERO).await;
}
