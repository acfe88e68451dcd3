//! A step the slow way: lock the token, read what is so now, decide, write.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::load::{Run, load_runs};
use super::rows::{millis, opened_row, run_end, within_limits};
use super::{Acted, Core};
use crate::decide::{
    Event, TaskEnd, TaskStatus, TimeoutKind, WorkflowStatus, counts_as, decide, input_of,
    only_alerts, timeout_reason,
};
use crate::error::Error;
use crate::ids::draw_jitter;
use crate::store::{AdvanceBatch, DueToken, EndedRow, ParkedRow, TokenState};

/// What happened to a token.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// Its attempt ended.
    Ended(TaskEnd),
    /// Its time is up; which time is read from the token.
    TimeUp,
    /// It is a `decide` token: the run goes on from where it was parked.
    Decide,
}

/// One token, and what happened to it.
#[derive(Clone, Debug)]
pub(crate) struct OneStep {
    pub(crate) token_id: i64,
    /// Who holds it; 0 for none.
    pub(crate) holder: i64,
    pub(crate) worker: Option<Arc<str>>,
    pub(crate) happened: Happened,
}

/// A step with its token, as it was locked, and what the decider is told of it.
struct Seen<'a> {
    locked: &'a DueToken,
    step: &'a OneStep,
    event: &'a Event,
}

/// What a parked `decide` token says: after which step to go on, and what history does not tell
/// of how its attempt ended. None for an event that is not parked.
fn parked(event: &Event) -> Option<Value> {
    let (after, retry_after, timeout) = match event {
        Event::Ended(end) => (&end.reference_name, end.retry_after, end.timeout),
        Event::Continue { after, retry_after, timeout, .. } => (after, *retry_after, *timeout),
        Event::Start | Event::Retry => return None,
    };
    Some(json!({
        "after": after,
        "retryAfterMs": retry_after.map(millis),
        "timeout": timeout.map(TimeoutKind::as_str),
    }))
}

/// Reads what [`parked`] wrote.
fn parked_event(input: Option<&Value>) -> Option<Event> {
    let input = input?;
    let retry_after = input.get("retryAfterMs").and_then(Value::as_u64);
    let timeout = input.get("timeout").and_then(Value::as_str);
    Some(Event::Continue {
        after: input.get("after")?.as_str()?.to_owned(),
        retry_after: retry_after.map(Duration::from_millis),
        timeout: timeout.and_then(TimeoutKind::from_name),
        jitter: draw_jitter(),
    })
}

impl Core {
    pub(crate) async fn step(&self, tx: &Transaction<'_>, step: &OneStep) -> Result<Acted, Error> {
        let locked = self.store.lock_token(tx, step.token_id, step.holder).await?;
        let Some(locked) = locked else { return Ok(Acted { lost: true, ..Acted::default() }) };
        if matches!(step.happened, Happened::TimeUp) && !locked.due {
            // Another engine has told of it meanwhile, or it was given more time.
            return Ok(Acted::default());
        }
        let id = locked.token.workflow_id;
        // A new statement: it sees what was committed before the lock was had.
        let mut loaded = load_runs(&self.store, tx, &self.plans, &[id]).await?;
        let Some(loaded) = loaded.pop() else {
            return Err(Error::invariant(id, "it has an open task and no row"));
        };
        let mut run = loaded.run;
        // A `decide` token is of no task.
        if !locked.token.reference_name.is_empty() {
            run.state.open.insert(locked.token.reference_name.clone(), locked.token.attempt);
        }
        let Some(event) = event_of(&run, &locked, step)? else {
            let (token, rev) = (locked.token.id, locked.token.rev);
            tracing::warn!(workflow_id = %id, task = locked.token.reference_name, "time-out (ALERT_ONLY)");
            self.store.disarm(tx, token, rev).await?;
            return Ok(Acted::default());
        };
        if run.state.status == WorkflowStatus::Paused {
            self.park(tx, &run, &Seen { locked: &locked, step, event: &event }).await?;
            return Ok(Acted { taken: vec![step.token_id], ..Acted::default() });
        }
        self.write_step(tx, run, &Seen { locked: &locked, step, event: &event }).await
    }

    async fn park(&self, tx: &Transaction<'_>, run: &Run, seen: &Seen<'_>) -> Result<(), Error> {
        let mut ended = ended_row(run, seen);
        if let Event::Ended(end) = seen.event {
            ended.status = counts_as(&run.plan, end);
        }
        let Some(then) = parked(seen.event) else { return Ok(()) };
        self.store.park_outcome(tx, &ParkedRow { ended: &ended, then }).await
    }

    async fn write_step(
        &self,
        tx: &Transaction<'_>,
        mut run: Run,
        seen: &Seen<'_>,
    ) -> Result<Acted, Error> {
        let Seen { locked, step, event } = *seen;
        let id = run.state.id;
        let mut ended = ended_row(&run, seen);
        let decision = decide(&run.plan, &mut run.state, event)
            .map_err(|error| Error::invariant(id, error.to_string()))?;
        ended.status = decision.ended_as.unwrap_or(ended.status);
        let end = decision.end.map(within_limits);
        let mut batch = AdvanceBatch::default();
        let mut done = Acted {
            ended: end.is_some().then_some(id),
            taken: vec![step.token_id],
            ..Acted::default()
        };
        if let Some(open) = decision.open {
            let row = opened_row(open, locked.token.id);
            done.timed = row.is_timed();
            if row.state == TokenState::Ready {
                done.ready.push(row.queue.clone());
            }
            batch.opened.push(row);
        }
        ended.run_end = end.clone().map(run_end);
        batch.ended.push(ended);
        let advanced = self.store.advance(tx, &batch, 0).await?;
        if advanced.applied.is_empty() {
            return Err(Error::invariant(id, "a locked token was refused by the hot statement"));
        }
        if let Some(end) = end
            && let Some(queue) = self.start_failure_workflow(tx, &run, &end).await?
        {
            done.ready.push(queue);
            done.timed = true;
        }
        Ok(done)
    }
}

/// What the decider is told, or none for a time-out that only alerts.
fn event_of(run: &Run, locked: &DueToken, step: &OneStep) -> Result<Option<Event>, Error> {
    let token = &locked.token;
    match &step.happened {
        Happened::Ended(end) => Ok(Some(Event::Ended(end.clone()))),
        Happened::Decide => parked_event(token.input.as_ref()).map(Some).ok_or_else(|| {
            Error::invariant(token.workflow_id, "a decide token does not say after which step")
        }),
        Happened::TimeUp => Ok(time_up(run, locked).map(Event::Ended)),
    }
}

/// The end of an attempt whose time is up, or none where the policy only alerts.
pub(crate) fn time_up(run: &Run, locked: &DueToken) -> Option<TaskEnd> {
    let token = &locked.token;
    let node = run.plan.node(&token.reference_name)?;
    let kind = match (locked.expired, token.state) {
        (true, _) => TimeoutKind::Total,
        (false, TokenState::Ready) => TimeoutKind::Poll,
        (false, _) => TimeoutKind::Task,
    };
    if only_alerts(node, kind) {
        return None;
    }
    let task_id = run.state.task_id(&token.reference_name, token.attempt).to_string();
    Some(TaskEnd {
        reference_name: token.reference_name.clone(),
        attempt: token.attempt,
        status: TaskStatus::TimedOut,
        input: Some(match &token.input {
            Some(input) => Arc::new(input.clone()),
            None => Arc::new(input_of(&run.plan, &run.state, node, token.attempt)),
        }),
        output: None,
        reason: Some(timeout_reason(node, kind, &task_id)),
        retry_after: None,
        timeout: Some(kind),
        jitter: draw_jitter(),
    })
}

fn ended_row(run: &Run, seen: &Seen<'_>) -> EndedRow {
    let Seen { locked, step, event } = *seen;
    let token = &locked.token;
    let mut row = EndedRow {
        token_id: token.id,
        rev: token.rev,
        holder: locked.holder,
        status: TaskStatus::Completed,
        input: None,
        output: None,
        worker: step.worker.clone().or_else(|| locked.worker.as_deref().map(Arc::from)),
        reason: None,
        run_end: None,
    };
    if let Event::Ended(end) = event {
        row.status = end.status;
        row.output.clone_from(&end.output);
        row.reason.clone_from(&end.reason);
        row.input.clone_from(&end.input);
        if row.input.is_none() && token.input.is_none() {
            row.input = run
                .plan
                .node(&token.reference_name)
                .map(|node| Arc::new(input_of(&run.plan, &run.state, node, token.attempt)));
        }
    }
    row
}
