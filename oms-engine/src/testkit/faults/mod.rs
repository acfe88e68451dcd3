//! Does all the harm to a workflow that can come to it, and has the user's checker look each time.
//!
//! A [`Subject`] says what is run: definitions, tasks, a world for each run (a database, stand-ins for
//! services), and what must hold afterwards. Then [`fail_each_step`] has each step fail in each way,
//! [`repeat_each_step`] has each step's work done again, and [`crash_each_commit`] kills the process that
//! does the work before, inside and after each of its commits.
//!
//! ```
//! use oms_engine::testkit::{Failure, KitOptions, Subject, TestDatabase, fail_each_step};
//! use oms_engine::tokio_postgres::Transaction;
//! use oms_engine::{
//!     EngineBuilder, Execution, StartRequest, TaskContext, TaskDef, TaskError, TransactionalTask,
//!     WorkflowDef, WorkflowStatus, WorkflowTask,
//! };
//! use serde_json::{Value, json};
//!
//! struct Pay;
//!
//! impl TransactionalTask for Pay {
//!     const NAME: &'static str = "pay";
//!     type Input = Value;
//!     type Output = Value;
//!
//!     async fn run(
//!         &self,
//!         _cx: &TaskContext,
//!         tx: &Transaction<'_>,
//!         _input: Value,
//!     ) -> Result<Value, TaskError> {
//!         tx.execute("INSERT INTO public.paid (cents) VALUES (100)", &[]).await?;
//!         Ok(json!({}))
//!     }
//! }
//!
//! struct Purchase;
//!
//! impl Subject for Purchase {
//!     type World = TestDatabase;
//!
//!     fn definitions(&self) -> Result<(Vec<TaskDef>, Vec<WorkflowDef>), Failure> {
//!         let pay = TaskDef { retry_count: 3, timeout_seconds: 60, ..TaskDef::new("pay") };
//!         let purchase =
//!             WorkflowDef::builder("purchase").task(WorkflowTask::simple("pay", "pay")).build()?;
//!         Ok((vec![pay], vec![purchase]))
//!     }
//!
//!     async fn open(&self) -> Result<TestDatabase, Failure> {
//!         let database = TestDatabase::migrated().await?;
//!         let client = database.connect().await?;
//!         client.batch_execute("CREATE TABLE public.paid (cents int NOT NULL)").await?;
//!         Ok(database)
//!     }
//!
//!     fn url<'a>(&self, world: &'a TestDatabase) -> &'a str {
//!         world.url()
//!     }
//!
//!     fn furnish(&self, _world: &TestDatabase, engine: EngineBuilder) -> EngineBuilder {
//!         engine.transactional_task(Pay)
//!     }
//!
//!     fn request(&self, _world: &TestDatabase) -> StartRequest {
//!         StartRequest::new("purchase")
//!     }
//!
//!     async fn check(&self, world: &TestDatabase, run: &Execution) -> Result<(), Failure> {
//!         let client = world.connect().await?;
//!         let paid = client.query_one("SELECT count(*) FROM public.paid", &[]).await?;
//!         let wanted = i64::from(run.status == WorkflowStatus::Completed);
//!         if paid.get::<_, i64>(0) != wanted {
//!             return Err(format!("paid {} times", paid.get::<_, i64>(0)).into());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let report = fail_each_step(&Purchase, &KitOptions::default()).await?;
//! assert_eq!(report.steps, ["pay"]);
//! # Ok(())
//! # })
//! # }
//! ```

mod crash;
mod fail;
mod proxy;
mod repeat;
mod script;
mod trial;
mod wire;

use std::fmt;
use std::process::Command;
use std::time::Duration;

pub use crash::{Moment, crash_each_commit, work_until_killed, worker_url};
pub use fail::fail_each_step;
pub use repeat::repeat_each_step;

use crate::advance::Execution;
use crate::definition::{TaskDef, WorkflowDef};
use crate::engine::{EngineBuilder, StartRequest};

/// Why something of the user's did not work, or what was found to be wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is put to the test: a workflow and all around it.
pub trait Subject: Sync {
    /// What one run has to itself: its database, and stand-ins for services. It goes when the run has
    /// been looked at.
    type World: Send + Sync;

    /// The definitions. Each is registered in each world, with delays between attempts taken out and
    /// time-outs cut to seconds, since most faults wait for one.
    ///
    /// # Errors
    /// Whatever; it ends the test.
    fn definitions(&self) -> Result<(Vec<TaskDef>, Vec<WorkflowDef>), Failure>;

    /// Makes a world. The engine's tables stand in their default schema.
    ///
    /// # Errors
    /// Whatever; it ends the test.
    fn open(&self) -> impl Future<Output = Result<Self::World, Failure>> + Send;

    /// Where a world's database is.
    fn url<'a>(&self, world: &'a Self::World) -> &'a str;

    /// Gives an engine the tasks. HTTP tasks of definitions are never made to fail.
    fn furnish(&self, world: &Self::World, engine: EngineBuilder) -> EngineBuilder;

    /// What is started.
    fn request(&self, world: &Self::World) -> StartRequest;

    /// Looks whether all is as it must be. The run has ended, and nothing else of the world is under way:
    /// other runs have ended, or wait for somebody, or for a time that is more than a minute off.
    ///
    /// # Errors
    /// What is wrong. The other faults are tried all the same.
    fn check(
        &self,
        world: &Self::World,
        run: &Execution,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// In which ways a step may fail: in all of them unless this says otherwise. Leave out what nobody
    /// could repair by a program, such as an undoing that fails for good.
    fn ways(&self, step: &Step) -> Vec<Way> {
        let _ = step;
        Way::ALL.to_vec()
    }

    /// A process that does the work, for [`crash_each_commit`] alone. It finds the database by
    /// [`worker_url`], furnishes an engine and runs it by [`work_until_killed`].
    ///
    /// A test program may start itself, with the arguments that have it run one test, which works if
    /// there is a `worker_url`.
    ///
    /// # Errors
    /// Whatever; it ends the test.
    fn worker(&self, world: &Self::World) -> Result<Command, Failure> {
        let _ = world;
        Err("the subject has no worker process".into())
    }
}

/// A step that a worker is handed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The task's name.
    pub task: String,
    /// Its reference name in its workflow; in loops with its turn.
    pub reference_name: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference_name)
    }
}

/// A way to fail. What is done to a step is done to one of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Way {
    /// It fails before its work, and is tried again.
    Fails,
    /// It fails after its work, and is tried again. The writes of a transactional task are rolled back.
    FailsAfter,
    /// It fails for good before its work.
    FailsForGood,
    /// It fails for good, though its work is done.
    FailsForGoodAfter,
    /// Its work is done, and its answer comes when its time is up.
    TimesOut,
    /// Its work is done when its time is up, beside the next attempt. Of tasks alone whose writes are not
    /// the step's own transaction.
    Late,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Fails,
        Self::FailsAfter,
        Self::FailsForGood,
        Self::FailsForGoodAfter,
        Self::TimesOut,
        Self::Late,
    ];

    /// Whether no attempt follows.
    #[must_use]
    pub fn is_for_good(self) -> bool {
        matches!(self, Self::FailsForGood | Self::FailsForGoodAfter)
    }

    fn waits_for_time_out(self) -> bool {
        matches!(self, Self::TimesOut | Self::Late)
    }
}

/// How a test is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KitOptions {
    /// Runs side by side, each with a world and an engine of its own.
    pub parallel: usize,
    /// How long a run may take until nothing of it is under way.
    pub patience: Duration,
    /// The commit that [`crash_each_commit`] begins with, counted from 1: a later one where another test
    /// looks at how such runs begin.
    pub first_commit: usize,
}

impl Default for KitOptions {
    fn default() -> Self {
        Self { parallel: 6, patience: Duration::from_secs(60), first_commit: 1 }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Runs in all, each looked at by the checker.
    pub runs: usize,
    /// The reference names of the steps that were harmed.
    pub steps: Vec<String>,
    /// Faults that met what they were meant for.
    pub hits: usize,
    /// Faults that did not: their step was not reached.
    pub missed: Vec<String>,
}
