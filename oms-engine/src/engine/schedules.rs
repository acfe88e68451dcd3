//! Schedules: workflows that start by a cron expression.

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use serde::Serialize;

use super::start::check_key;
use super::{Engine, connection};
use crate::advance::Core;
use crate::definition::{Crons, Due, WorkflowSchedule, next_fires, validate_schedule};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::queue::TIMER_NOTE;
use crate::store::{FireRow, PutSchedule, ScheduleRow};

/// What a fire of a schedule came to. Names are those of Conductor.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ScheduleFire {
    /// The fire's own id; the run has it in its input as `_executionId`.
    pub execution_id: String,
    /// The schedule.
    pub schedule_name: String,
    /// When it was due.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub scheduled_time: DateTime<Utc>,
    /// When an engine got to it.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub execution_time: DateTime<Utc>,
    /// The workflow that it starts.
    pub workflow_name: String,
    /// The run that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<WorkflowId>,
    /// What it came to.
    pub state: FireState,
    /// Why it started none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The zone of its expression.
    pub zone_id: String,
}

/// What a fire came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum FireState {
    /// It started a run.
    Executed,
    /// Its run could not be started; the reason says why.
    Failed,
    /// It was passed over: by `overlapPolicy`, or because too many had been missed.
    Skipped,
}

impl Engine {
    /// Makes a schedule, or replaces the one of its name. Out: as it is kept, with its next fire.
    ///
    /// A fire that is due while a schedule is replaced stays due, unless its expressions, zones or
    /// times change: then it goes on from now.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`] with every fault. Whether the workflow is registered shows
    /// when the schedule fires.
    pub async fn put_schedule(
        &self,
        schedule: &WorkflowSchedule,
    ) -> Result<WorkflowSchedule, Error> {
        validate_schedule(schedule).map_err(|faults| Error::InvalidDefinition { faults })?;
        let schedule = schedule.clone();
        self.change(move |core, client| Box::pin(async move { put(core, client, schedule).await }))
            .await
    }

    /// A schedule with its next fire.
    ///
    /// # Errors
    /// [`Error::ScheduleNotFound`].
    pub async fn schedule(&self, name: &str) -> Result<WorkflowSchedule, Error> {
        let mut found = self.list_schedules(Some(name), None).await?;
        found.pop().ok_or_else(|| Error::ScheduleNotFound { name: name.to_owned() })
    }

    /// Schedules by name: those that start one workflow, or all.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn schedules(&self, workflow: Option<&str>) -> Result<Vec<WorkflowSchedule>, Error> {
        self.list_schedules(None, workflow).await
    }

    /// Removes a schedule and the record of its fires; runs that it started go on. Out: whether
    /// there was one.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn remove_schedule(&self, name: &str) -> Result<bool, Error> {
        check_key("schedule name", Some(name))?;
        let name = name.to_owned();
        self.change(move |core, client| {
            Box::pin(async move { core.store.remove_schedule(client, &name).await })
        })
        .await
    }

    /// Lets a schedule rest. Fires that come meanwhile are not made up for.
    ///
    /// # Errors
    /// [`Error::ScheduleNotFound`].
    pub async fn pause_schedule(&self, name: &str, reason: Option<&str>) -> Result<(), Error> {
        self.set_paused(name, Some(reason.unwrap_or_default().to_owned())).await
    }

    /// Lets a schedule go on from now.
    ///
    /// # Errors
    /// [`Error::ScheduleNotFound`].
    pub async fn resume_schedule(&self, name: &str) -> Result<(), Error> {
        self.set_paused(name, None).await
    }

    /// When an expression fires next, from the database's time on: `count` times, at most 1,000.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`] for an expression or a zone that cannot be read.
    pub async fn next_fires(
        &self,
        cron_expression: &str,
        zone_id: &str,
        count: usize,
    ) -> Result<Vec<DateTime<Utc>>, Error> {
        let now = self
            .change(|core, client| Box::pin(async move { core.store.read_time(client).await }))
            .await?;
        next_fires(cron_expression, zone_id, now, count)
            .map_err(|faults| Error::InvalidDefinition { faults })
    }

    /// What the last fires of a schedule came to, newest first. The last 100 are kept.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn schedule_fires(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<Vec<ScheduleFire>, Error> {
        check_key("schedule name", Some(name))?;
        self.fires(Some(name.to_owned()), limit).await
    }

    /// What the last fires of all schedules came to, newest first. Of each the last 100 are kept.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn all_schedule_fires(&self, limit: usize) -> Result<Vec<ScheduleFire>, Error> {
        self.fires(None, limit).await
    }

    async fn fires(&self, name: Option<String>, limit: usize) -> Result<Vec<ScheduleFire>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .change(move |core, client| {
                Box::pin(async move { core.store.list_fires(client, name.as_deref(), limit).await })
            })
            .await?;
        Ok(rows.into_iter().map(shown_fire).collect())
    }

    async fn list_schedules(
        &self,
        name: Option<&str>,
        workflow: Option<&str>,
    ) -> Result<Vec<WorkflowSchedule>, Error> {
        check_key("schedule name", name)?;
        check_key("workflow name", workflow)?;
        let (name, workflow) = (name.map(str::to_owned), workflow.map(str::to_owned));
        let rows = self
            .change(move |core, client| {
                Box::pin(async move {
                    core.store.list_schedules(client, name.as_deref(), workflow.as_deref()).await
                })
            })
            .await?;
        rows.into_iter().map(shown).collect()
    }

    async fn set_paused(&self, name: &str, paused: Option<String>) -> Result<(), Error> {
        check_key("schedule name", Some(name))?;
        if paused.as_deref().is_some_and(|reason| reason.contains('\0')) {
            return Err(Error::invalid("reason", "has a NUL character"));
        }
        let name = name.to_owned();
        self.change(move |core, client| {
            Box::pin(async move { pause(core, client, &name, paused).await })
        })
        .await
    }

    /// Does something on a connection for one call, to its end.
    async fn change<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Core, &'a mut ClientWrapper) -> Work<'a, T> + Send + 'static,
    {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = work(&core, client.client()?).await;
            client.settle(done)
        })
        .await
    }
}

type Work<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

async fn put(
    core: &Core,
    client: &mut ClientWrapper,
    schedule: WorkflowSchedule,
) -> Result<WorkflowSchedule, Error> {
    let crons = compile(&schedule)?;
    let tx = core.store.begin(client).await?;
    let before = core.store.lock_schedule(&tx, &schedule.name).await?;
    let now = core.store.read_time(&tx).await?;
    let mut next = crons.behind(now);
    if let Some(row) = before {
        let other = shown(row.clone())?;
        // A rest is never made up for.
        if schedule.fires_as(&other) && !row.paused {
            next = row.next;
        }
    }
    let kept = keep(&core.store, &tx, &schedule, next).await?;
    core.store.notify(&tx, &[TIMER_NOTE]).await?;
    core.store.commit(tx).await?;
    shown(kept)
}

async fn pause(
    core: &Core,
    client: &mut ClientWrapper,
    name: &str,
    paused: Option<String>,
) -> Result<(), Error> {
    let tx = core.store.begin(client).await?;
    let Some(row) = core.store.lock_schedule(&tx, name).await? else {
        return Err(Error::ScheduleNotFound { name: name.to_owned() });
    };
    let (rested, next) = (row.paused, row.next);
    let mut schedule = shown(row)?;
    schedule.paused = paused.is_some();
    schedule.paused_reason = paused.filter(|reason| !reason.is_empty());
    let now = core.store.read_time(&tx).await?;
    let next = if rested && !schedule.paused { compile(&schedule)?.behind(now) } else { next };
    keep(&core.store, &tx, &schedule, next).await?;
    core.store.notify(&tx, &[TIMER_NOTE]).await?;
    core.store.commit(tx).await
}

async fn keep(
    store: &crate::store::Store,
    tx: &deadpool_postgres::Transaction<'_>,
    schedule: &WorkflowSchedule,
    next: Option<Due>,
) -> Result<ScheduleRow, Error> {
    let plain = WorkflowSchedule {
        paused: false,
        paused_reason: None,
        next_run_time: None,
        create_time: None,
        updated_time: None,
        ..schedule.clone()
    };
    let definition = serde_json::to_value(plain)
        .map_err(|error| Error::invalid("schedule", format!("cannot be written: {error}")))?;
    let put = PutSchedule {
        name: &schedule.name,
        definition: &definition,
        workflow_name: &schedule.start_workflow_request.name,
        paused: schedule.paused,
        paused_reason: schedule.paused_reason.as_deref(),
        next,
    };
    store.put_schedule(tx, &put).await
}

fn compile(schedule: &WorkflowSchedule) -> Result<Crons, Error> {
    Crons::compile(schedule).map_err(|faults| Error::InvalidDefinition { faults })
}

fn shown(row: ScheduleRow) -> Result<WorkflowSchedule, Error> {
    let schedule: WorkflowSchedule =
        serde_json::from_value(row.definition).map_err(|error| Error::Invariant {
            workflow_id: None,
            what: format!("a schedule in the tables cannot be read: {error}"),
        })?;
    Ok(WorkflowSchedule {
        paused: row.paused,
        paused_reason: row.paused_reason,
        next_run_time: row.next.map(|due| due.at.timestamp_millis()),
        create_time: Some(row.created_at.timestamp_millis()),
        updated_time: Some(row.updated_at.timestamp_millis()),
        ..schedule
    })
}

fn shown_fire(row: FireRow) -> ScheduleFire {
    ScheduleFire {
        execution_id: WorkflowId::from_uuid(row.execution_id).to_string(),
        schedule_name: row.schedule,
        scheduled_time: row.scheduled_at,
        execution_time: row.executed_at.unwrap_or(row.scheduled_at),
        workflow_name: row.workflow_name,
        workflow_id: row.workflow_id,
        state: match row.state {
            0 => FireState::Executed,
            1 => FireState::Failed,
            _ => FireState::Skipped,
        },
        reason: row.reason,
        zone_id: row.zone_id,
    }
}
