//! Runs that ended long ago are removed: whole families of parents and children, in short
//! transactions, exported first where that is asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use deadpool_postgres::{ClientWrapper, Transaction};

use super::Core;
use super::rows::millis;
use crate::config::Retention;
use crate::error::Error;
use crate::ids::WorkflowId;

/// Runs that one transaction removes; one family may be more.
const RUNS_MAX: i64 = 200;
/// With an export, which reads each of them.
const EXPORTED_MAX: i64 = 20;

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// So many runs were removed, and there may be more.
    Removed(usize),
    /// Another one removes just now.
    Busy,
    /// All have been looked at.
    All,
}

/// One way through all runs, in the order of their starts.
#[derive(Debug)]
pub(crate) struct Sweep {
    age_ms: i64,
    export: Option<PathBuf>,
    after: (DateTime<Utc>, WorkflowId),
    /// Of the stretch that was looked at last.
    heads: Vec<WorkflowId>,
    is_last: bool,
}

impl Sweep {
    pub(crate) fn new(retention: &Retention) -> Self {
        Self {
            age_ms: millis(retention.age),
            export: retention.export.clone(),
            after: (DateTime::UNIX_EPOCH, WorkflowId::from_uuid(uuid::Uuid::nil())),
            heads: Vec::new(),
            is_last: false,
        }
    }

    /// One short transaction. After an error the families that it was about are passed over.
    pub(crate) async fn step(
        &mut self,
        core: &Core,
        client: &mut ClientWrapper,
    ) -> Result<Swept, Error> {
        while self.heads.is_empty() {
            if self.is_last {
                return Ok(Swept::All);
            }
            let stretch = core.store.ended_roots(client, self.age_ms, self.after).await?;
            self.is_last = stretch.is_last;
            self.after = stretch.last.unwrap_or(self.after);
            self.heads = stretch.heads;
        }
        let tx = core.store.begin(client).await?;
        if !core.store.try_retention(&tx).await? {
            core.store.roll_back(tx).await?;
            return Ok(Swept::Busy);
        }
        let enough = if self.export.is_some() { EXPORTED_MAX } else { RUNS_MAX };
        let locked = core.store.lock_families(&tx, &self.heads, (self.age_ms, enough)).await?;
        let (looked, ids) = locked;
        self.heads.drain(..looked.clamp(1, self.heads.len()));
        if !ids.is_empty() {
            if let Some(path) = &self.export {
                export(core, &tx, path, &ids).await?;
            }
            core.store.remove_workflows(&tx, &ids).await?;
        }
        core.store.commit(tx).await?;
        Ok(Swept::Removed(ids.len()))
    }
}

/// Appends runs to a file, and has it on the disk.
async fn export(
    core: &Core,
    tx: &Transaction<'_>,
    path: &Path,
    ids: &[WorkflowId],
) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Export { path: path.display().to_string(), source };
    let of = path.to_owned();
    let open = move || OpenOptions::new().create(true).append(true).open(of);
    let mut file = blocking(open).await.map_err(failed)?;
    for id in ids {
        let run = core.load_execution(tx, *id).await?;
        let mut line = serde_json::to_vec(&run)
            .map_err(|error| Error::invariant(*id, format!("it cannot be written: {error}")))?;
        line.push(b'\n');
        let write = move || -> io::Result<File> {
            file.write_all(&line)?;
            Ok(file)
        };
        file = blocking(write).await.map_err(failed)?;
    }
    blocking(move || file.sync_data()).await.map_err(failed)
}

/// A disk may be slow.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}
