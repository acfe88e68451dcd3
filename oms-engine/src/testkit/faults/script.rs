//! What is done to the tasks of one run: they are wrapped in what fails, hangs and repeats them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Transaction;

use super::{Step, Way};
use crate::definition::Payload;
use crate::engine::EngineBuilder;
use crate::ids::TaskId;
use crate::worker::{
    Answers, AnyTask, ErasedTask, ErasedTransactionalTask, Handed, TaskContext, TaskError,
};

/// Into the next attempt.
const LATE: Duration = Duration::from_millis(20);
/// How long work that is done once more may take.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What is done to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Fail(Way),
    /// Its work is done twice in one attempt, as when its result is lost and it is handed out again.
    RepeatAtOnce,
    /// Its work is done once more when the run has ended.
    RepeatAtEnd,
}

/// What a task's writes go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// They are the step's own transaction.
    Transactional,
}

#[derive(Debug)]
struct Armed {
    step: Step,
    deed: Deed,
    /// The attempt that it met.
    met: Option<TaskId>,
}

/// Shared by all tasks of a run.
#[derive(Default)]
pub(super) struct Script {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    armed: Vec<Armed>,
    seen: BTreeMap<Step, Kind>,
    late: Vec<tokio::task::JoinHandle<()>>,
    again: Vec<Work>,
}

/// A plain task as it was handed out.
struct Work {
    body: Arc<dyn ErasedTask>,
    cx: TaskContext,
    input: Payload,
}

impl Script {
    pub(super) fn new(deeds: impl IntoIterator<Item = (Step, Deed)>) -> Arc<Self> {
        let armed = deeds.into_iter().map(|(step, deed)| Armed { step, deed, met: None }).collect();
        Arc::new(Self { state: Mutex::new(State { armed, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all tasks of the engine go by this.
    pub(super) fn furnish(self: &Arc<Self>, engine: EngineBuilder) -> EngineBuilder {
        engine.wrap_tasks(|name, task| {
            let (name, script) = (name.to_owned(), self.clone());
            match task {
                AnyTask::Plain(body) => AnyTask::Plain(Arc::new(Faulty { name, script, body })),
                AnyTask::Transactional(body) => {
                    AnyTask::Transactional(Arc::new(Faulty { name, script, body }))
                }
                AnyTask::Batch(body, size) => {
                    AnyTask::Batch(Arc::new(Faulty { name, script, body }), size)
                }
            }
        })
    }

    /// What is to be done to this attempt. A failure stays with the attempt that it met, however often
    /// that is handed out.
    fn meets(&self, task: &str, cx: &TaskContext, kind: Kind) -> Option<Deed> {
        let reference_name = cx.reference_name().to_owned();
        let step = Step { task: task.to_owned(), reference_name };
        let mut state = self.state();
        let found = state.armed.iter_mut().find(|armed| {
            armed.step == step
                && match &armed.met {
                    None => true,
                    Some(met) => matches!(armed.deed, Deed::Fail(_)) && met == cx.task_id(),
                }
        });
        let deed = found.map(|armed| {
            armed.met = Some(cx.task_id().clone());
            armed.deed
        });
        state.seen.insert(step, kind);
        deed
    }

    /// The steps that were handed out.
    pub(super) fn seen(&self) -> BTreeMap<Step, Kind> {
        self.state().seen.clone()
    }

    /// How many deeds met their step, and those that did not.
    pub(super) fn met(&self) -> (usize, Vec<Step>) {
        let state = self.state();
        let missed = state.armed.iter().filter(|armed| armed.met.is_none());
        let missed: Vec<Step> = missed.map(|armed| armed.step.clone()).collect();
        (state.armed.len() - missed.len(), missed)
    }

    /// Does what is to be done when the run has ended, and returns when nothing is under way any more.
    pub(super) async fn afterwards(&self) {
        let (late, again) = {
            let mut state = self.state();
            (std::mem::take(&mut state.late), std::mem::take(&mut state.again))
        };
        for work in late {
            drop(tokio::time::timeout(AGAIN_MAX, work).await);
        }
        for Work { body, cx, input } in again {
            // Whatever it answers is nobody's any more.
            drop(tokio::time::timeout(AGAIN_MAX, body.run(cx, input)).await);
        }
    }
}

/// A task that goes by the script.
struct Faulty<B: ?Sized> {
    name: String,
    script: Arc<Script>,
    body: Arc<B>,
}

/// What an attempt says that was made to fail.
fn refusal(way: Way) -> TaskError {
    if way.is_for_good() {
        TaskError::terminal("made to fail for good")
    } else {
        TaskError::retry("made to fail")
    }
}

#[async_trait]
impl ErasedTask for Faulty<dyn ErasedTask> {
    async fn run(self: Arc<Self>, cx: TaskContext, input: Payload) -> Result<Payload, TaskError> {
        let run = || self.body.clone().run(cx.clone(), input.clone());
        let work = || Work { body: self.body.clone(), cx: cx.clone(), input: input.clone() };
        match self.script.meets(&self.name, &cx, Kind::Plain) {
            None => run().await,
            Some(Deed::Fail(way @ (Way::Fails | Way::FailsForGood))) => Err(refusal(way)),
            Some(Deed::Fail(way @ (Way::FailsAfter | Way::FailsForGoodAfter))) => {
                run().await?;
                Err(refusal(way))
            }
            Some(Deed::Fail(Way::TimesOut)) => {
                let answer = run().await;
                cx.cancelled().await;
                answer
            }
            Some(Deed::Fail(Way::Late)) => {
                let Work { body, cx: late, input } = work();
                let work = tokio::spawn(async move {
                    late.cancelled().await;
                    tokio::time::sleep(LATE).await;
                    drop(body.run(late, input).await);
                });
                self.script.state().late.push(work);
                cx.cancelled().await;
                Err(refusal(Way::Late))
            }
            Some(Deed::RepeatAtOnce) => {
                drop(run().await);
                run().await
            }
            Some(Deed::RepeatAtEnd) => {
                self.script.state().again.push(work());
                run().await
            }
        }
    }
}

#[async_trait]
impl ErasedTransactionalTask for Faulty<dyn ErasedTransactionalTask> {
    async fn run(&self, tx: &Transaction<'_>, tasks: Vec<Handed>) -> Answers {
        let meets = |(cx, _): &Handed| self.script.meets(&self.name, cx, Kind::Transactional);
        let met: Vec<Option<Deed>> = tasks.iter().map(meets).collect();
        if met.iter().flatten().any(|deed| !matches!(deed, Deed::Fail(_))) {
            // As when the commit is lost: the work is rolled back, and done again.
            tx.batch_execute("SAVEPOINT once").await?;
            drop(self.body.run(tx, tasks.clone()).await);
            tx.batch_execute("ROLLBACK TO SAVEPOINT once; RELEASE SAVEPOINT once").await?;
        }
        let hangs = tasks.iter().zip(&met).find_map(|((cx, _), deed)| {
            matches!(deed, Some(Deed::Fail(Way::TimesOut))).then(|| cx.clone())
        });
        let answers = self.body.run(tx, tasks).await;
        if let Some(cx) = hangs {
            cx.cancelled().await;
        }
        let answers = answers?.into_iter().zip(met).map(|(answer, deed)| match deed {
            Some(Deed::Fail(way)) if way != Way::TimesOut => Err(refusal(way)),
            _ => answer,
        });
        Ok(answers.collect())
    }
}
