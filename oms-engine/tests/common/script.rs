//! Tasks whose body a test gives, and a gate to hold them at.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, EngineBuilder, Task, TaskContext, TaskError, WorkflowId};
use serde_json::Value;
use tokio::sync::Semaphore;

/// What a scripted task answers.
pub(crate) type Answer = Result<Value, TaskError>;
type Body =
    dyn Fn(TaskContext, Value) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

macro_rules! scripted {
    ($($type:ident = $name:literal;)*) => {$(
        /// A task with the body that a test gives.
        pub(crate) struct $type(Box<Body>);

        impl $type {
            pub(crate) fn new<F, Fut>(body: F) -> Self
            where
                F: Fn(TaskContext, Value) -> Fut + Send + Sync + 'static,
                Fut: Future<Output = Answer> + Send + 'static,
            {
                Self(Box::new(move |cx, input| Box::pin(body(cx, input))))
            }
        }

        impl Task for $type {
            const NAME: &'static str = $name;
            type Input = Value;
            type Output = Value;

            async fn run(&self, cx: &TaskContext, input: Value) -> Answer {
                (self.0)(cx.clone(), input).await
            }
        }
    )*};
}

scripted! {
    Work = "work";
    After = "after";
    Undo = "undo";
}

/// Holds tasks until a test lets them go.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    entered: Arc<Semaphore>,
    passes: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), passes: Arc::new(Semaphore::new(0)) }
    }

    /// In the task: says that it is here, and waits.
    pub(crate) async fn enter(&self) {
        self.entered.add_permits(1);
        self.passes.acquire().await.unwrap().forget();
    }

    /// In the test: waits until one more task is here.
    pub(crate) async fn entered(&self) {
        let wait = Duration::from_secs(30);
        tokio::time::timeout(wait, self.entered.acquire()).await.unwrap().unwrap().forget();
    }

    /// Lets so many tasks pass.
    pub(crate) fn open(&self, tasks: usize) {
        self.passes.add_permits(tasks);
    }
}

/// What tasks did, by a name of the test's choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Notes {
    pub(crate) fn add(&self, name: &str, note: &(impl ToString + ?Sized)) {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().push(note.to_string());
    }

    pub(crate) fn of(&self, name: &str) -> Vec<String> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

/// An engine that looks for work when it is told, so that a missing wake-up shows.
pub(crate) fn told(database: &TestDatabase) -> EngineBuilder {
    super::engine(database).poll_interval(Duration::from_secs(60))
}

/// Waits until a run has a task of this reference in this status.
pub(crate) async fn until_task(engine: &Engine, id: WorkflowId, reference: &str, status: &str) {
    let begun = std::time::Instant::now();
    loop {
        let run = engine.get(id).await.unwrap();
        if run.task(reference).is_some_and(|task| task.status.as_str() == status) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never {status}: {run:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
