//! What is wrong with a server or with the engine's tables, and what to do about it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use serde::Serialize;

use super::Tables;
use crate::error::Error;

/// Between the clocks of this machine and of the server, beside the time that asking takes.
const CLOCK_OFF_MAX_MS: i64 = 2_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// The engine does not work, or may lose what it was told.
    Fault,
    /// It becomes slow, or waits for somebody.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Of which kind, as `pooler`, `schema`, `rights`, `durability`, `connections`, `no worker`.
    pub kind: String,
    /// What was found.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// From when on something is told of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DoctorLimits {
    /// A transaction is long.
    pub long_transaction: Duration,
    /// An engine is overdue, or a queue without a worker.
    pub silence: Duration,
    /// Connections that an engine needs.
    pub connections: u32,
    /// A table with so many dead rows, and more of them than live ones, is bloated.
    pub dead_rows: u32,
}

impl Default for DoctorLimits {
    fn default() -> Self {
        Self {
            long_transaction: Duration::from_secs(300),
            silence: Duration::from_secs(30),
            connections: 20,
            dead_rows: 100_000,
        }
    }
}

/// How bad what is of this kind is, and what to do.
fn about(kind: &str) -> (Severity, &'static str) {
    use Severity::{Fault, Warning};
    match kind {
        "schema" => {
            (Fault, "upgrade the tables with `oms migrate up`, or the program that is older")
        }
        "rights" => {
            (Fault, "grant what is missing: `oms migrate roles` prints it for all three roles")
        }
        "pooler" => (
            Fault,
            "leases and wake-ups hang on sessions: connect straight to PostgreSQL, or set pool_mode = session",
        ),
        "durability" => {
            (Fault, "what was committed is lost when the machine goes down: turn it on")
        }
        "connections" => (Fault, "raise it, close some, or give engines smaller pools"),
        "stuck" => (Fault, "see ARCHITECTURE.md, \"When paged\""),
        "vacuum" => (Warning, "dead rows stay and make queues slow: turn it on"),
        "long transaction" => {
            (Warning, "end it: until then dead rows cannot go, and queues become slow")
        }
        "bloat" => (Warning, "look for long transactions, then VACUUM it"),
        "session" => (
            Warning,
            "its process is stopped, cut off or dead: an engine that lives takes its tasks over",
        ),
        "no engine" => (Warning, "nothing happens until one is started"),
        "no worker" => (Warning, "start a worker of that task type, in that domain"),
        "clock" => (Warning, "have both keep time by NTP: tokens, certificates and logs go by it"),
        _ => (Warning, ""),
    }
}

fn finding(kind: impl Into<String>, what: impl Into<String>) -> Finding {
    let kind = kind.into();
    let (severity, hint) = about(&kind);
    Finding { severity, kind, what: what.into(), hint }
}

impl Tables {
    /// Looks for what is wrong with the server, the role's rights and the tables: the worst first,
    /// nothing where all is well. `clock` gives this machine's time. Transactions of others are
    /// seen by roles with `pg_read_all_stats`.
    ///
    /// # Errors
    /// When the database cannot be reached, or an answer takes too long.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn doctor(
        &self,
        limits: &DoctorLimits,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync,
    ) -> Result<Vec<Finding>, Error> {
        let client = self.connect().await?;
        let mut found = Vec::new();
        match self.connector.refuse_shared_sessions(&client).await {
            Err(error @ Error::SharedSessions { .. }) => {
                // What follows would fail by it.
                return Ok(vec![finding("pooler", error.to_string())]);
            }
            done => done?,
        }
        found.extend(self.clock_offset(&client, &clock).await?);
        let rights = self.store.doctor_rights(&client).await?;
        let due = match self.migrations().await {
            Ok(known) => {
                let due: Vec<String> = known
                    .iter()
                    .filter(|migration| migration.applied_at.is_none())
                    .map(|migration| format!("{:04}_{}", migration.version, migration.name))
                    .collect();
                (!due.is_empty()).then(|| format!("migrations are due: {}", due.join(", ")))
            }
            Err(error @ Error::SchemaVersion { .. }) => Some(error.to_string()),
            Err(_) if !rights.is_empty() => None,
            Err(error) => return Err(error),
        };
        let readable = rights.is_empty() && due.is_none();
        found.extend(due.map(|due| finding("schema", due)));
        found.extend(rights.into_iter().map(|what| finding("rights", what)));
        if readable {
            let bounds = (
                limits.long_transaction.as_secs_f64(),
                limits.silence.as_secs_f64(),
                i64::from(limits.connections),
                i64::from(limits.dead_rows),
            );
            let more = self.store.doctor(&client, bounds).await?;
            found.extend(more.into_iter().map(|(kind, what)| finding(kind, what)));
        }
        found.sort_by(|a, b| (a.severity, &a.kind, &a.what).cmp(&(b.severity, &b.kind, &b.what)));
        Ok(found)
    }

    async fn clock_offset(
        &self,
        client: &ClientWrapper,
        clock: &(impl Fn() -> DateTime<Utc> + Send + Sync),
    ) -> Result<Option<Finding>, Error> {
        let before = clock();
        let theirs = self.store.doctor_time(client).await?;
        let trip = (clock() - before).num_milliseconds().max(0);
        let off = (before - theirs).num_milliseconds() + trip / 2;
        let is_off = off.abs() > CLOCK_OFF_MAX_MS + trip;
        let ahead = if off > 0 { "ahead of" } else { "behind" };
        let what = || format!("this machine's clock is {} ms {ahead} the server's", off.abs());
        Ok(is_off.then(|| finding("clock", what())))
    }
}
