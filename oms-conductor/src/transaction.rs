//! Transactional tasks: the effect and its output in one transaction of the user's database.
//!
//! The step's row in the inbox is taken first, so that of two deliveries at once the second waits for the
//! first; then the task works; then its output is kept in that row, and all commits together. Whatever was
//! interrupted is begun again: the inbox tells whether it was done.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::FutureExt as _;
use oms_engine::{TaskContext, TaskError};
use serde_json::Value;
use tokio_postgres::Transaction;

use crate::attempt::panicked;
use crate::backoff::Backoff;
use crate::registry::RunsIn;

/// How often a task is repeated that met a conflict, or whose connection was lost.
const REPEATS_MAX: u32 = 10;

const CLAIM: &str = include_str!("sql/claim.sql");
const ANSWER: &str = include_str!("sql/answer.sql");
const SETTLE: &str = include_str!("sql/settle.sql");

/// Where transactional tasks write.
#[derive(Clone)]
pub(crate) struct Transactions {
    pub(crate) pool: Pool,
    /// For each statement of ours.
    pub(crate) deadline: Duration,
}

/// What came of a delivery.
pub(crate) enum Done {
    Now(Value),
    /// An earlier delivery did it.
    Before(Value),
}

/// Why nothing was committed, as far as is known.
enum Undone {
    /// The task's own word.
    Failed(TaskError),
    /// The same once more may do.
    Again(String),
}

/// A connection that goes back to its pool only when it is known to be at rest.
struct Rented(Option<Object>);

impl Rented {
    fn at_rest(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Rented {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

impl Transactions {
    /// Runs a task to its end.
    ///
    /// Dropped, nothing is committed, or what is answered for the next delivery.
    pub(crate) async fn run(
        &self,
        body: &Arc<dyn RunsIn>,
        name: &str,
        cx: &TaskContext,
        input: &Value,
    ) -> Result<Done, TaskError> {
        let mut backoff = Backoff::new();
        for _ in 0..REPEATS_MAX {
            match self.once(body, name, cx, input).await {
                Ok(done) => return Ok(done),
                Err(Undone::Failed(error)) => return Err(error),
                Err(Undone::Again(reason)) => {
                    tracing::debug!(reason, task = name, "a transaction is repeated");
                    drop(cx.take_log());
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
        // The last time: what it says counts.
        match self.once(body, name, cx, input).await {
            Ok(done) => Ok(done),
            Err(Undone::Failed(error)) => Err(error),
            Err(Undone::Again(reason)) => Err(TaskError::retry(reason)),
        }
    }

    async fn once(
        &self,
        body: &Arc<dyn RunsIn>,
        name: &str,
        cx: &TaskContext,
        input: &Value,
    ) -> Result<Done, Undone> {
        let client = self.in_time("a connection", self.pool.get()).await?;
        let client = client.map_err(|error| Undone::Again(in_full(&error)))?;
        let mut rented = Rented(Some(client));
        let Some(client) = rented.0.as_mut() else {
            return Err(Undone::Again("no connection".to_owned()));
        };
        let done = self.within(client, body, name, (cx, input)).await;
        if !matches!(done, Err(Undone::Again(_))) {
            rented.at_rest();
        }
        done
    }

    async fn within(
        &self,
        client: &mut Object,
        body: &Arc<dyn RunsIn>,
        name: &str,
        (cx, input): (&TaskContext, &Value),
    ) -> Result<Done, Undone> {
        let tx = self.in_time("BEGIN", client.transaction()).await?.map_err(undone)?;
        let key = cx.idempotency_key();
        // Waits for another delivery that is at it, for as long as that takes.
        if tx.query_opt(CLAIM, &[&key, &name]).await.map_err(undone)?.is_none() {
            let row = self.in_time("the inbox", tx.query_opt(ANSWER, &[&key])).await?;
            let row = row.map_err(undone)?;
            let answer: Option<Value> =
                row.map(|row| row.try_get(0)).transpose().map_err(undone)?.flatten();
            self.in_time("COMMIT", tx.commit()).await?.map_err(undone)?;
            // None: it was removed just now.
            return answer
                .map(Done::Before)
                .ok_or_else(|| Undone::Again("the inbox has no output".to_owned()));
        }
        let output = work(body, cx, &tx, input).await?;
        let settled = self.in_time("the inbox", tx.execute(SETTLE, &[&key, &output])).await?;
        if settled.map_err(undone)? != 1 {
            let why = "the task has ended its transaction by itself";
            return Err(Undone::Failed(TaskError::terminal(why)));
        }
        // Where the answer is lost, the next try finds the output or nothing.
        self.in_time("COMMIT", tx.commit()).await?.map_err(undone)?;
        Ok(Done::Now(output))
    }

    async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, Undone> {
        tokio::time::timeout(self.deadline, call).await.map_err(|_| {
            Undone::Again(format!("{what}: the database gave no answer within {:?}", self.deadline))
        })
    }
}

async fn work(
    body: &Arc<dyn RunsIn>,
    cx: &TaskContext,
    tx: &Transaction<'_>,
    input: &Value,
) -> Result<Value, Undone> {
    match AssertUnwindSafe(body.run(cx, tx, input)).catch_unwind().await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(match database_cause(&error) {
            Some(cause) if is_passing(cause) => Undone::Again(error.reason().to_owned()),
            _ => Undone::Failed(error),
        }),
        Err(panic) => Err(Undone::Failed(panicked(&*panic))),
    }
}

fn undone(error: tokio_postgres::Error) -> Undone {
    if is_passing(&error) {
        return Undone::Again(in_full(&error));
    }
    Undone::Failed(error.into())
}

/// A conflict between transactions, or a connection or server that went away.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code().map(|code| code.code()) else { return true };
    matches!(code, "40001" | "40P01" | "55P03" | "25006")
        || ["08", "53", "57"].iter().any(|class| code.starts_with(class))
}

/// The database's error among the causes, however deep.
fn database_cause(error: &TaskError) -> Option<&tokio_postgres::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> =
        error.cause().map(|cause| -> &(dyn std::error::Error + 'static) { cause });
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<String>>()
        .join(": ")
}
