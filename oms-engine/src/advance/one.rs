//! A step the slow way: lock the token, read what is so now, decide, write.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::Value;

use super::load::{Asked, Run, load_runs};
use super::outside::{Said, attempt_is_over};
use super::rows::{opened_rows, run_end, tell};
use super::take::take_rest;
use super::told::{Told, parked};
use super::undo::{Ending, undoes};
use super::{Acted, Core};
use crate::decide::{
    DecideError, Decision, End, Event, Node, SYSTEM_QUEUE, TaskEnd, TaskStatus, TimeoutKind,
    WorkflowStatus, counts_as, decide, input_of, only_alerts, timeout_reason,
};
use crate::definition::Payload;
use crate::error::Error;
use crate::ids::draw_jitter;
use crate::store::{AdvanceBatch, DueToken, EndedRow, ParkedRow, REMOTE, Token, TokenState};

/// What happened to a token.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// Its attempt ended.
    Ended(TaskEnd),
    /// Its time is up; which time is read from the token.
    TimeUp,
    /// Somebody outside says how it stands.
    Said(Said),
    /// The remote worker that has it is still at it.
    HeardOf,
    /// It is one that engines take themselves: what to do is read from it.
    System,
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

impl Core {
    pub(crate) async fn step(&self, tx: &Transaction<'_>, step: &OneStep) -> Result<Acted, Error> {
        let locked = self.store.lock_token(tx, step.token_id, step.holder).await?;
        let Some(locked) = locked else { return Ok(Acted { lost: true, ..Acted::default() }) };
        if matches!(step.happened, Happened::TimeUp) && !locked.due {
            // Another engine has told of it meanwhile, or it was given more time.
            return Ok(Acted::default());
        }
        if let (Happened::System, Some(acted)) =
            (&step.happened, self.control(tx, &locked.token).await?)
        {
            return Ok(acted);
        }
        if let Happened::Said(said) = &step.happened
            && said.status == TaskStatus::InProgress
        {
            return self.update(tx, &locked, said).await;
        }
        let id = locked.token.workflow_id;
        // A new statement: it sees what was committed before the lock was had.
        let asked = [asked(&locked.token)];
        let mut loaded = load_runs(&self.store, tx, &self.plans, &asked).await?;
        let Some(run) = loaded.pop().flatten() else {
            return Err(Error::invariant(id, "it has an open task and no row"));
        };
        let mut run = self.look_beside(tx, run, &locked.token).await?;
        if matches!(step.happened, Happened::HeardOf) {
            return self.heard_of(tx, &run, &locked).await;
        }
        run.state.fresh = true;
        // A `decide` token is of no task.
        if !locked.token.reference_name.is_empty() {
            run.state.open.insert(locked.token.reference_name.clone(), locked.token.attempt);
        }
        let told = match &step.happened {
            Happened::Ended(end) => Told::Event(Event::Ended(end.clone())),
            Happened::Said(said) => Told::Event(Event::Ended(said.end(&run, &locked))),
            Happened::System => self.told(tx, &run, &locked).await?,
            Happened::TimeUp => match time_up(&run, &locked) {
                Some(end) => Told::Event(Event::Ended(end)),
                None => {
                    let task = &*locked.token.reference_name;
                    tracing::warn!(workflow_id = %id, task, "time-out (ALERT_ONLY)");
                    return self.only_told(tx, &run, &locked).await;
                }
            },
            // Above.
            Happened::HeardOf => return Ok(Acted::default()),
        };
        let (event, began) = match told {
            Told::Event(event) => (event, None),
            Told::Began(event, queue) => (event, Some(queue)),
            Told::Done(acted) => return Ok(acted),
        };
        let event = event.held_to_schema(&run.plan, &run.state);
        let seen = Seen { locked: &locked, step, event: &event };
        if run.state.status == WorkflowStatus::Paused {
            self.park(tx, &run, &seen).await?;
            let (ready, taken) = (began.into_iter().collect(), vec![step.token_id]);
            return Ok(Acted { ready, taken, ..Acted::default() });
        }
        let mut acted = self.write_step(tx, run, &seen).await?;
        acted.timed |= began.is_some();
        acted.ready.extend(began);
        Ok(acted)
    }

    async fn park(&self, tx: &Transaction<'_>, run: &Run, seen: &Seen<'_>) -> Result<(), Error> {
        let Some(then) = parked(seen.event) else {
            return self.store.park_container(tx, seen.locked.token.id).await;
        };
        let mut ended = ended_row(run, seen.locked, seen.step.worker.clone(), seen.event);
        if let Event::Ended(end) = seen.event {
            ended.status = counts_as(&run.plan, &run.state, end);
        }
        self.store.park_outcome(tx, &ParkedRow { ended: &ended, then }).await
    }

    async fn write_step(
        &self,
        tx: &Transaction<'_>,
        run: Run,
        seen: &Seen<'_>,
    ) -> Result<Acted, Error> {
        let Seen { locked, step, event } = *seen;
        let id = run.state.id;
        let mut ended = ended_row(&run, locked, step.worker.clone(), event);
        let (run, decision) = self
            .decide_fresh(tx, run, event)
            .await?
            .map_err(|error| Error::invariant(id, error.to_string()))?;
        if decision.waits {
            self.store.wait_again(tx, locked.token.id).await?;
            return Ok(Acted { taken: vec![step.token_id], ..Acted::default() });
        }
        self.grow(tx, &run, &decision).await?;
        tell(&mut ended, &decision);
        let mut done = Acted {
            ended: decision.end.is_some().then_some(id),
            taken: vec![step.token_id],
            ..Acted::default()
        };
        done.freed = freed([locked]);
        if let Some(output) = &decision.stays {
            self.store.keep_open(tx, locked.token.id, output).await?;
            done.timed = true;
            self.publish(tx, &decision, &mut done).await?;
            return Ok(done);
        }
        self.publish(tx, &decision, &mut done).await?;
        let opened = opened_rows(
            &decision.scheduled,
            locked.token.id,
            run.state.beside.as_ref().and_then(|beside| beside.around),
            run.domains.as_ref(),
        );
        opened.iter().for_each(|row| done.opens(row));
        let end = decision.end.clone().map(|end| end.within_limits(&run.plan));
        let alone = !run.plan.forks && !run.plan.has_loops && locked.token.scope.is_none();
        let undoes = end.as_ref().is_some_and(|end| undoes(&run, end));
        if alone && !undoes && end.as_ref().is_none_or(|end| end.output.is_some()) {
            ended.run_end = end.clone().map(run_end);
        }
        let written = ended.run_end.is_some();
        let batch = AdvanceBatch::of(&ended, &opened);
        let advanced = self.store.advance(tx, &batch, 0).await?;
        if advanced.applied.is_empty() {
            return Err(Error::invariant(id, "a locked token was refused by the hot statement"));
        }
        // A container, or the task of a parent, has nothing left to wait for.
        done.ready.extend(advanced.fallen.into_iter().map(|token| token.queue.to_string()));
        self.wake(tx, &run, &decision, &mut done).await?;
        if let Some(end) = end {
            let end = if written {
                end
            } else {
                match self.end_with_tokens(tx, &run, end, &mut done).await? {
                    Some(end) => end,
                    None => return Ok(done),
                }
            };
            done.tally.ended = Some(run.ended(end.status, end.reason.as_deref()));
            if let Some(queue) = self.start_failure_workflow(tx, &run, &end).await? {
                done.ready.push(queue);
                done.timed = true;
            }
        }
        Ok(done)
    }

    /// Ends a run that may have other open tasks. None: what it did is undone before.
    async fn end_with_tokens(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        end: End,
        done: &mut Acted,
    ) -> Result<Option<End>, Error> {
        let leaves = take_rest(&self.store, tx, run.state.id).await?;
        let end = self.end_or_undo(tx, (run, &leaves), Ending::of_step(end), done).await?;
        if end.is_none() {
            done.ended = None;
        }
        Ok(end)
    }

    /// Decides with what the definition does not have looked up, and scripts on a thread that
    /// may take time.
    pub(super) async fn decide_fresh(
        &self,
        tx: &Transaction<'_>,
        mut run: Run,
        event: &Event,
    ) -> Result<Result<(Run, Decision), DecideError>, Error> {
        let mut all: Option<BTreeMap<String, Value>> = None;
        loop {
            let mut tried = run.clone();
            let scripts = run.plan.runs_scripts || run.state.branch.is_some() || all.is_some();
            let decided = if scripts {
                let event = event.clone();
                let work = move || {
                    let decided = decide(&tried.plan, &mut tried.state, &event);
                    decided.map(|decision| (tried, decision))
                };
                tokio::task::spawn_blocking(work).await.map_err(|error| {
                    Error::invariant(run.state.id, format!("a decision did not end: {error}"))
                })?
            } else {
                decide(&tried.plan, &mut tried.state, event).map(|decision| (tried, decision))
            };
            let names = match decided {
                Err(DecideError::NeedsTaskDefs(names)) => names,
                decided => return Ok(decided),
            };
            if all.is_none() {
                all = Some(self.store.list_task_definitions(tx).await?);
            }
            for name in names {
                let text = all.as_ref().and_then(|all| all.get(&name));
                let def = text.cloned().map(serde_json::from_value).transpose();
                let def = def.map_err(|error| {
                    let what = format!("task definition {name:?} cannot be read: {error}");
                    Error::invariant(run.state.id, what)
                })?;
                run.state.task_defs.insert(name, def);
            }
        }
    }
}

/// The queues of the leased tasks among these tokens.
pub(super) fn freed<'a>(tokens: impl IntoIterator<Item = &'a DueToken>) -> Vec<String> {
    let leased = tokens.into_iter().filter(|token| token.holder != 0);
    let queues = leased.map(|leased| leased.token.queue.to_string());
    queues.filter(|queue| queue != SYSTEM_QUEUE).collect()
}

/// What to load for a token.
pub(crate) fn asked(token: &Token) -> Asked<'_> {
    let after = || token.input.as_ref()?.get("after")?.as_str();
    let of_none = token.reference_name.is_empty();
    Asked {
        id: token.workflow_id,
        reference_name: if of_none { after().unwrap_or_default() } else { &token.reference_name },
        ended: of_none,
        first: !of_none && token.epoch == 0 && token.attempt == 0,
        scope: token.scope,
        detail: token.detail.as_ref(),
    }
}

/// The end of an attempt whose time is up, or none where the policy only alerts.
pub(crate) fn time_up(run: &Run, locked: &DueToken) -> Option<TaskEnd> {
    let token = &locked.token;
    let node = node_of(run, token)?;
    let must_be_heard_of = |state| {
        let waits = state == TokenState::Delayed && node.silence_ms().is_some();
        waits || locked.holder == REMOTE
    };
    let kind = match (locked.expired, token.state) {
        (true, _) => TimeoutKind::Total,
        (false, TokenState::Ready) => TimeoutKind::Poll,
        (false, state) if !attempt_is_over(node, token) && must_be_heard_of(state) => {
            TimeoutKind::Response
        }
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
        input: Some(input_now(run, node, token)),
        output: None,
        reason: Some(timeout_reason(node, kind, &task_id)),
        retry_after: None,
        timeout: Some(kind),
        jitter: draw_jitter(),
    })
}

/// What a token's task got.
pub(super) fn input_now(run: &Run, node: &Node, token: &Token) -> Payload {
    match &token.input {
        Some(input) => Payload::from(input.clone()),
        None => input_of(&run.plan, &run.state, node, &token.reference_name, token.attempt),
    }
}

/// The step of a token, as its own branch and definition have it.
pub(super) fn node_of<'a>(run: &'a Run, token: &Token) -> Option<&'a Arc<Node>> {
    run.node(&token.reference_name)
}

pub(super) fn ended_row(
    run: &Run,
    locked: &DueToken,
    worker: Option<Arc<str>>,
    event: &Event,
) -> EndedRow {
    let token = &locked.token;
    let mut row = EndedRow {
        token_id: token.id,
        rev: token.rev,
        holder: locked.holder,
        status: TaskStatus::Completed,
        input: None,
        output: None,
        worker: worker.or_else(|| locked.worker.as_deref().map(Arc::from)),
        reason: None,
        run_end: None,
        has_parent: run.state.parent_id.is_some(),
        arrives: false,
        note: None,
        variables: None,
    };
    if let Event::Ended(end) = event {
        row.status = end.status;
        row.output.clone_from(&end.output);
        row.reason.clone_from(&end.reason);
        row.input.clone_from(&end.input);
        if row.input.is_none() && token.input.is_none() {
            let (name, attempt) = (&token.reference_name, token.attempt);
            row.input = run
                .plan
                .node(name)
                .map(|node| input_of(&run.plan, &run.state, node, name, attempt));
        }
    }
    row
}
