//! Schedules that are due: a fire starts its run, is recorded, and the schedule moves on to its
//! next one, all in one transaction. So a fire starts one run, whoever is killed when.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deadpool_postgres::{ClientWrapper, Transaction};
use serde_json::{Map, Value, json};

use super::Core;
use super::start::{Begun, NewRun, Resolved, resolve};
use crate::definition::{Crons, Due, OverlapPolicy, TaskToDomain, WorkflowSchedule};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{DueSchedule, FireRow, MovedSchedule, StartRow};

const EXECUTED: i16 = 0;
const FAILED: i16 = 1;
const SKIPPED: i16 = 2;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 1_000;

/// What a look at due schedules did.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    /// Queues that have ready tasks now.
    pub(crate) ready: Vec<String>,
    /// Something was given a time: the timer must look again.
    pub(crate) timed: bool,
}

/// What one schedule's fire is to write.
struct Planned {
    fires: Vec<FireRow>,
    start: Option<StartRow>,
    moved: MovedSchedule,
}

/// What a definition was found to be, by name and version.
type Found = BTreeMap<(String, Option<i32>), Result<Resolved, String>>;

impl Core {
    /// Fires schedules whose time has come, at most `limit`, without those named. `taken` gets
    /// the names, also where it fails: then nothing was done.
    pub(crate) async fn fire_schedules(
        &self,
        client: &mut ClientWrapper,
        limit: i64,
        without: &[String],
        taken: &mut Vec<String>,
    ) -> Result<Fired, Error> {
        let tx = self.store.begin(client).await?;
        let due = self.store.due_schedules(&tx, limit, without).await?;
        taken.extend(due.iter().map(|one| one.name.clone()));
        let mut found = Found::new();
        let (mut fires, mut starts, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for one in &due {
            let planned = self.plan_fire(&tx, one, &mut found).await?;
            fires.extend(planned.fires);
            starts.extend(planned.start);
            moved.push(planned.moved);
        }
        if due.is_empty() {
            self.store.roll_back(tx).await?;
            return Ok(Fired::default());
        }
        if !starts.is_empty() {
            let rows: Vec<&StartRow> = starts.iter().collect();
            let done = self.store.start_workflows(&tx, &rows, None).await?;
            if done.started.len() != rows.len() {
                let what = "a definition is gone that a schedule starts".to_owned();
                return Err(Error::Invariant { workflow_id: None, what });
            }
        }
        self.store.record_fires(&tx, &fires).await?;
        self.store.move_schedules(&tx, &moved).await?;
        self.store.commit(tx).await?;
        crate::telemetry::started_all(starts.iter().map(|row| &*row.name));
        let timed = starts.iter().any(|row| row.first.is_timed() || row.timeout_ms.is_some());
        let ready = starts.into_iter().map(|row| row.first.queue.to_string());
        Ok(Fired { ready: ready.collect(), timed })
    }

    /// Gives up the fire of one schedule that could not be written, and moves on.
    pub(crate) async fn fail_fire(
        &self,
        client: &mut ClientWrapper,
        name: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let tx = self.store.begin(client).await?;
        let now = self.store.read_time(&tx).await?;
        let row = self.store.lock_schedule(&tx, name).await?;
        let Some((row, due)) = row.and_then(|row| row.next.map(|due| (row, due))) else {
            return self.store.roll_back(tx).await;
        };
        if row.paused || due.at > now {
            return self.store.roll_back(tx).await;
        }
        let (schedule, crons) = read_schedule(name, &row.definition)?;
        let fire = Fire { schedule: &schedule, crons: &crons, due, id: WorkflowId::new() };
        let fires = [fire.row(FAILED, None, Some(reason.to_owned()))];
        let next = fire.next(now);
        let moved = [MovedSchedule { name: name.to_owned(), next, started: None }];
        self.store.record_fires(&tx, &fires).await?;
        self.store.move_schedules(&tx, &moved).await?;
        self.store.commit(tx).await
    }

    async fn plan_fire(
        &self,
        tx: &Transaction<'_>,
        one: &DueSchedule,
        found: &mut Found,
    ) -> Result<Planned, Error> {
        let (schedule, crons) = read_schedule(&one.name, &one.definition)?;
        let mut fires = Vec::new();
        let mut due = one.due;
        if schedule.run_catchup_schedule_instances {
            let limit = schedule.catch_up_limit();
            due = crons.caught_up(due, limit, one.now);
            if due != one.due {
                let missed = Fire {
                    schedule: &schedule,
                    crons: &crons,
                    due: one.due,
                    id: WorkflowId::new(),
                };
                let reason = format!(
                    "this and all others before {} were missed; the last {limit} are caught up",
                    due.at
                );
                fires.push(missed.row(SKIPPED, None, Some(reason)));
            }
        }
        let fire = Fire { schedule: &schedule, crons: &crons, due, id: WorkflowId::new() };
        let mut start = None;
        if one.running && schedule.overlap_policy == OverlapPolicy::Skip {
            let reason = "the run of the last fire goes on".to_owned();
            fires.push(fire.row(SKIPPED, None, Some(reason)));
        } else {
            match self.begin_fire(tx, &fire, one.now, found).await? {
                Ok(begun) => {
                    fires.push(fire.row(EXECUTED, Some(begun.row.id), None));
                    start = Some(begun.row);
                }
                Err(reason) => {
                    tracing::error!(
                        schedule = one.name,
                        reason,
                        "a schedule did not start its workflow"
                    );
                    fires.push(fire.row(FAILED, None, Some(reason)));
                }
            }
        }
        let started = start.as_ref().map(|row: &StartRow| row.id);
        let next = fire.next(one.now);
        Ok(Planned { fires, start, moved: MovedSchedule { name: one.name.clone(), next, started } })
    }

    /// The run of a fire; what the schedule is wrong about is the inner error.
    async fn begin_fire(
        &self,
        tx: &Transaction<'_>,
        fire: &Fire<'_>,
        now: DateTime<Utc>,
        found: &mut Found,
    ) -> Result<Result<Begun, String>, Error> {
        let request = &fire.schedule.start_workflow_request;
        let resolved = if let Some(text) = &request.workflow_def {
            self.inline(tx, text).await?
        } else {
            let key = (request.name.clone(), request.version);
            if !found.contains_key(&key) {
                let resolved = match resolve(self, tx, &request.name, request.version).await {
                    // Locked rows are no place to wait for who registers: as of now will do.
                    Ok(resolved) => Ok(Resolved { latest: None, ..resolved }),
                    Err(error) if told(&error) => Err(error.to_string()),
                    Err(error) => return Err(error),
                };
                found.insert(key.clone(), resolved);
            }
            found.get(&key).cloned().unwrap_or_else(|| Err("it was not looked up".to_owned()))
        };
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(reason) => return Ok(Err(reason)),
        };
        let new = NewRun {
            input: fire.input(now),
            correlation_id: request.correlation_id.clone(),
            priority: i16::try_from(request.priority).unwrap_or(0),
            task_to_domain: match TaskToDomain::new(request.task_to_domain.clone()) {
                Ok(map) if map.as_map().is_empty() => None,
                Ok(map) => Some(Arc::new(map)),
                Err((key, reason)) => return Ok(Err(format!("taskToDomain {key:?}: {reason}"))),
            },
            ..NewRun::default()
        };
        match resolved.begin(new) {
            Ok(begun) => Ok(Ok(begun)),
            Err(error) if told(&error) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error is the schedule's, so that its fire fails and no other.
fn told(error: &Error) -> bool {
    matches!(
        error,
        Error::DefinitionNotFound { .. }
            | Error::InvalidDefinition { .. }
            | Error::InvalidInput { .. }
    )
}

fn read_schedule(name: &str, definition: &Value) -> Result<(WorkflowSchedule, Crons), Error> {
    let schedule: WorkflowSchedule =
        serde_json::from_value(definition.clone()).map_err(|error| Error::Invariant {
            workflow_id: None,
            what: format!("schedule {name:?} in the tables cannot be read: {error}"),
        })?;
    let crons = Crons::compile(&schedule).map_err(|faults| Error::InvalidDefinition { faults })?;
    Ok((schedule, crons))
}

/// One fire.
struct Fire<'a> {
    schedule: &'a WorkflowSchedule,
    crons: &'a Crons,
    due: Due,
    /// Names it in the record and to the run; drawn as all ids are.
    id: WorkflowId,
}

impl Fire<'_> {
    fn row(&self, state: i16, run: Option<WorkflowId>, reason: Option<String>) -> FireRow {
        FireRow {
            execution_id: self.id.as_uuid(),
            schedule: self.schedule.name.clone(),
            workflow_name: self.schedule.start_workflow_request.name.clone(),
            workflow_id: run,
            state,
            reason: reason.map(|reason| reason.chars().take(REASON_MAX).collect()),
            zone_id: self.crons.zone_id(self.due).to_owned(),
            scheduled_at: self.due.at,
            executed_at: None,
        }
    }

    /// The run's input, with what Conductor adds.
    fn input(&self, now: DateTime<Utc>) -> Map<String, Value> {
        let mut input = self.schedule.start_workflow_request.input.clone();
        for (key, value) in [
            ("_startedByScheduler", json!(self.schedule.name)),
            ("_scheduledTime", json!(self.due.at.timestamp_millis())),
            ("_executedTime", json!(now.timestamp_millis())),
            ("_executionId", json!(self.id.to_string())),
            ("_schedulerCron", json!(self.crons.text(self.due))),
        ] {
            input.insert(key.to_owned(), value);
        }
        input
    }

    /// The fire after this one. What was missed meanwhile counts only where it is caught up; two
    /// expressions that meet fire both.
    fn next(&self, now: DateTime<Utc>) -> Option<Due> {
        let next = self.crons.following(self.due)?;
        let catches_up = self.schedule.run_catchup_schedule_instances;
        if catches_up || next.at == self.due.at || next.at > now {
            return Some(next);
        }
        self.crons.behind(now)
    }
}
