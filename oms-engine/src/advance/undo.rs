//! Runs that end badly: what they did is undone before.
//!
//! The end is settled at once and written when all is undone. Tasks of which nobody knows yet
//! whether they did something report first; nothing else of the run is open then. Each task that
//! undoes a step is a task of the run like others; what comes next is decided when it is through.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::load::{Run, fact_of};
use super::one::freed;
use super::operate::reason_of_children;
use super::rows::run_end;
use super::take::{Taken, take_rest};
use super::told::Told;
use super::{Acted, Core};
use crate::decide::{
    Branch, End, Event, Fact, Part, SYSTEM_QUEUE, Undo, WorkflowStatus, undo_reads,
};
use crate::error::Error;
use crate::store::{CanceledRow, DueToken, HistoryRow, Token, UndoRow, Wanted};

/// How long tasks that were handed out may take to report once their run's end is settled: as
/// long as Conductor lets a task be silent.
const IN_FLIGHT_MAX_MS: i64 = 3_600_000;

/// An end that is to be written.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) end: End,
    /// An operator asks for it; whether he wants undone what was done.
    pub(super) by_operator: Option<bool>,
}

impl Ending {
    pub(super) const fn of_step(end: End) -> Self {
        Self { end, by_operator: None }
    }

    pub(super) fn compensates(&self) -> bool {
        self.end.status != WorkflowStatus::Completed && self.by_operator.unwrap_or(true)
    }
}

/// Whether this end of a run, by one of its steps, may lead to undoing.
pub(super) fn undoes(run: &Run, end: &End) -> bool {
    run.plan.may_undo && end.status != WorkflowStatus::Completed
}

/// Whether somebody had this task, and what it may have done can be undone.
pub(super) fn is_in_flight(run: &Run, token: &Token) -> bool {
    if token.poll_count == 0 || &*token.queue == SYSTEM_QUEUE || token.reference_name.is_empty() {
        return false;
    }
    let text = token.detail.as_ref().and_then(|detail| detail.get("branch"));
    let branch = text.and_then(|text| Branch::read(text).ok());
    let own = branch.as_ref().and_then(|branch| branch.graph.find(&token.reference_name));
    let found = own.or_else(|| run.plan.graph.find(&token.reference_name));
    found.is_some_and(|(node, _)| node.undo.is_some())
}

/// What a token says that waits to undo: to begin, or the rest of its line.
pub(super) enum Says {
    Begin,
    Rest(Vec<Part>),
}

pub(super) fn says(token: &Token) -> Option<Says> {
    let input = token.input.as_ref().filter(|_| token.reference_name.is_empty())?;
    if input.get("unwind").is_some() {
        return Some(Says::Begin);
    }
    serde_json::from_value(input.get("undo")?.clone()).ok().map(Says::Rest)
}

/// History as what undoes its steps reads it.
pub(super) fn facts_of(
    run: &Run,
    rows: &[HistoryRow],
    in_loops: &[&str],
) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    for row in rows {
        let own = run.state.branch.as_ref().and_then(|b| b.graph.find(&row.reference_name));
        let found = own.or_else(|| run.plan.graph.find(&row.reference_name));
        let turns = found.map(|(_, turns)| turns).unwrap_or_default();
        let fact = fact_of(row, turns);
        let base = row.reference_name.split("__").next().unwrap_or_default();
        if in_loops.contains(&base) {
            facts.insert(base.to_owned(), fact.clone());
        }
        facts.insert(row.reference_name.clone(), fact);
    }
    facts
}

impl Core {
    /// Ends a run whose tokens are locked, or has undone first what it did: then none.
    pub(super) async fn end_or_undo(
        &self,
        tx: &Transaction<'_>,
        (run, leaves): (&Run, &[DueToken]),
        ending: Ending,
        done: &mut Acted,
    ) -> Result<Option<End>, Error> {
        let id = run.state.id;
        let inputs = self.inputs_of(tx, leaves).await?;
        let mut stay = Vec::new();
        if ending.compensates() && run.plan.may_undo && !run.state.undoing {
            let ledger = self.ledger(tx, run).await?;
            let in_flight = leaves.iter().filter(|leaf| is_in_flight(run, &leaf.token));
            stay.extend(in_flight.map(|leaf| leaf.token.id));
            if !ledger.is_empty() || !stay.is_empty() {
                self.settle_end(tx, run, (&inputs, &stay), ending).await?;
                done.ready.push(SYSTEM_QUEUE.to_owned());
                done.timed = true;
                take_from_holders(leaves, &stay, done);
                return Ok(None);
            }
            let left = ledger.left(&run.state);
            if !left.is_empty() {
                self.store.set_undo(tx, id, &UndoRow { left, ..UndoRow::default() }).await?;
            }
        }
        let (end, ready) = self.end_run(tx, run, ending, &inputs).await?;
        done.ready.extend(ready);
        take_from_holders(leaves, &stay, done);
        Ok(Some(end))
    }

    async fn settle_end(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        (inputs, stay): (&[(String, Arc<Value>)], &[i64]),
        ending: Ending,
    ) -> Result<(), Error> {
        let id = run.state.id;
        let by_operator = ending.by_operator.is_some();
        let mut end = ending.end;
        if end.output.is_none() {
            let last = self.store.last_output(tx, id).await?;
            end.output = Some(Arc::new(last.unwrap_or_else(|| json!({}))));
            end = end.within_limits(&run.plan);
        }
        let reason = reason_of_children(&end);
        let undo = UndoRow { end: Some(end.status), by_operator, ..UndoRow::default() };
        let canceled = CanceledRow { inputs, reason: &reason, compensate: true, stay: Some(stay) };
        self.store.cancel_tokens(tx, id, &canceled).await?;
        self.store.begin_undo(tx, id, &run_end(end), &undo).await?;
        self.store.gather_tokens(tx, id, inputs, (&reason, IN_FLIGHT_MAX_MS)).await?;
        Ok(())
    }

    /// The time of tasks that had still to report is up. Runs that they wait for go on.
    pub(super) async fn cut_off(
        &self,
        tx: &Transaction<'_>,
        taken: Taken,
        gate: i64,
    ) -> Result<Acted, Error> {
        if !self.store.is_waiting(tx, gate).await? {
            return Ok(Acted::default());
        }
        let id = taken.row.id;
        let inputs = self.inputs_of(tx, &taken.leaves).await?;
        let reason = "Parent workflow is undone".to_owned();
        let canceled =
            CanceledRow { inputs: &inputs, reason: &reason, compensate: true, stay: Some(&[]) };
        self.store.cancel_tokens(tx, id, &canceled).await?;
        self.store.gather_tokens(tx, id, &inputs, (&reason, IN_FLIGHT_MAX_MS)).await?;
        let ready = vec![SYSTEM_QUEUE.to_owned()];
        let mut acted = Acted { ready, timed: true, ..Acted::default() };
        take_from_holders(&taken.leaves, &[], &mut acted);
        Ok(acted)
    }

    async fn ledger(&self, tx: &Transaction<'_>, run: &Run) -> Result<Ledger, Error> {
        let id = run.state.id;
        let (mut ledger, mut forks) = Ledger::of(&run.plan);
        while !forks.is_empty() {
            let names: Vec<&str> = forks.iter().map(String::as_str).collect();
            forks = ledger.add_forks(self.store.load_named(tx, id, &names, true).await?);
        }
        if !ledger.names().is_empty() {
            let rows = self.store.load_named(tx, id, &ledger.names(), false).await?;
            ledger.add(rows);
        }
        Ok(ledger)
    }

    /// Notes on a run that has ended what may still stand of it.
    pub(super) async fn note_left(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        undo: UndoRow,
    ) -> Result<(), Error> {
        let left = self.ledger(tx, run).await?.left(&run.state);
        self.store.set_undo(tx, run.state.id, &UndoRow { end: None, left, ..undo }).await
    }

    /// What a token says that waits to undo; none: it is another.
    pub(super) async fn told_to_undo(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        locked: &DueToken,
    ) -> Result<Option<Told>, Error> {
        let token = &locked.token;
        let Some(says) = says(token) else { return Ok(None) };
        if run.state.status == WorkflowStatus::Paused {
            self.store.park_container(tx, token.id).await?;
            return Ok(Some(Told::Done(Acted { taken: vec![token.id], ..Acted::default() })));
        }
        Ok(Some(match says {
            Says::Begin => {
                let ledger = self.ledger(tx, run).await?;
                let undo = self.undo_row(tx, run).await?.0;
                let undo = UndoRow { first: ledger.first(), ..undo };
                self.store.set_undo(tx, run.state.id, &undo).await?;
                Told::Event(Event::Unwind(ledger.unwind()))
            }
            Says::Rest(parts) if parts.is_empty() && token.scope.is_none() => {
                Told::Done(self.end_undone(tx, run).await?)
            }
            Says::Rest(parts) => {
                let facts = self.facts_for(tx, run, &parts).await?;
                Told::Event(Event::Undo(Undo { parts, facts }))
            }
        }))
    }

    async fn facts_for(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        parts: &[Part],
    ) -> Result<BTreeMap<String, Fact>, Error> {
        let reads = undo_reads(&run.plan.graph, run.state.branch.as_deref(), parts);
        let wanted = reads.iter().map(|(name, in_loop)| Wanted {
            workflow_id: run.state.id,
            reference_name: name.clone(),
            in_loop: *in_loop,
        });
        let rows = self.store.load_facts(tx, &wanted.collect::<Vec<_>>(), true).await?;
        let in_loops: Vec<&str> =
            reads.iter().filter(|(_, in_loop)| *in_loop).map(|(name, _)| name.as_str()).collect();
        Ok(facts_of(run, &rows, &in_loops))
    }

    async fn undo_row(&self, tx: &Transaction<'_>, run: &Run) -> Result<(UndoRow, End), Error> {
        let id = run.state.id;
        let row = self.store.load_runs(tx, &[id]).await?.into_iter().next();
        let found = row.and_then(|row| {
            let undo = row.undo?;
            let end = End {
                status: undo.end?,
                output: row.output.map(Arc::new),
                reason: row.reason,
                failed_task: row.failed_task,
            };
            Some((undo, end))
        });
        found.ok_or_else(|| Error::invariant(id, "it is undone and its end is not settled"))
    }

    /// Writes the end of a run once all is undone.
    async fn end_undone(&self, tx: &Transaction<'_>, run: &Run) -> Result<Acted, Error> {
        let id = run.state.id;
        take_rest(&self.store, tx, id).await?;
        let (undo, end) = self.undo_row(tx, run).await?;
        let by_operator = undo.by_operator;
        self.note_left(tx, run, undo).await?;
        let (end, ready) = self.end_run(tx, run, Ending::of_step(end), &[]).await?;
        let mut acted = Acted { ended: Some(id), ready, timed: true, ..Acted::default() };
        acted.tally.ended = Some(run.ended(end.status, end.reason.as_deref()));
        if !by_operator {
            acted.ready.extend(self.start_failure_workflow(tx, run, &end).await?);
        }
        Ok(acted)
    }
}

fn take_from_holders(leaves: &[DueToken], stay: &[i64], done: &mut Acted) {
    let leased = |leaf: &&DueToken| leaf.holder != 0 && !leaf.token.is_control();
    let lost = |leaf: &&DueToken| !stay.contains(&leaf.token.id);
    done.freed.extend(freed(leaves.iter().filter(lost)));
    let taken = leaves.iter().filter(leased);
    let taken = taken.map(|leaf| leaf.token.id).filter(|id| !stay.contains(id));
    done.taken.extend(taken);
}
