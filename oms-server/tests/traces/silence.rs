//! A collector that is away, or says nothing, holds up nobody.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, StartRequest, WorkflowDef, WorkflowStatus, WorkflowTask};

use crate::worker::{Folder, Worker};

const RUNS: usize = 100;

/// How long runs take while their spans cannot be exported, and what the engine's process logs.
async fn runs(name: &str, collector: &str) -> (Duration, String) {
    let folder = Folder::new(name);
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let worker = Worker::start(database.url(), collector, 1, folder.path());
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let step = |n: usize| WorkflowTask::simple("unbook", format!("t{n}"));
    let def = (0..5).fold(WorkflowDef::builder("line"), |def, n| def.task(step(n)));
    engine.register_workflow(&def.build().unwrap()).await.unwrap();
    let begun = Instant::now();
    let requests = (0..RUNS).map(|_| StartRequest::new("line")).collect();
    for started in engine.start_many(requests).await.unwrap() {
        let run = tokio::time::timeout(Duration::from_secs(60), engine.wait(started.id));
        assert_eq!(run.await.unwrap().unwrap().status, WorkflowStatus::Completed);
    }
    let took = begun.elapsed();
    engine.shutdown(Duration::ZERO).await;
    (took, worker.stop())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_no_run_and_is_said_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (took, log) = runs("away", &format!("http://127.0.0.1:{port}")).await;
    println!("{RUNS} runs of five tasks without a collector: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(log.matches("spans cannot be exported").count(), 1, "{log}");
    assert_eq!(log.matches("spans are exported again").count(), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_no_run_and_holds_up_no_stop() {
    // It takes connections in, and reads none of them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let (took, _) = runs("silent", &format!("http://{}", silent.local_addr().unwrap())).await;
    println!("{RUNS} runs of five tasks with a silent collector: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    // An export has ten seconds; what is left in the end has three.
    assert!(begun.elapsed() < took + Duration::from_secs(30), "{:?}", begun.elapsed());
}
