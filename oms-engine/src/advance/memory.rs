//! A step decided from memory: the rows of the hot statement for it.

use std::sync::Arc;

use super::load::Run;
use super::rows::{Containers, opened_row, run_end, tell};
use super::undo::undoes;
use crate::decide::{Branch, Event, Node, TaskEnd, WorkflowStatus, decide};
use crate::definition::Payload;
use crate::store::{EndedRow, OpenedRow, Token};

/// What a step that was decided from memory writes.
#[derive(Debug)]
pub(crate) struct Planned<T> {
    pub(crate) ended: EndedRow,
    pub(crate) opened: Vec<T>,
}

/// A task to schedule, and what a worker that gets it at once needs.
#[derive(Debug)]
pub(crate) struct PlannedTask {
    pub(crate) row: OpenedRow,
    pub(crate) input: Payload,
    branch: Option<Arc<Branch>>,
    dynamic: Option<Arc<Node>>,
    /// Whether a worker takes it.
    pub(crate) for_worker: bool,
}

impl PlannedTask {
    /// Its row, its input, and the run as whoever has this task sees it.
    pub(crate) fn begin(self, mut run: Run) -> (OpenedRow, Payload, Run) {
        let Self { row, input, branch, dynamic, .. } = self;
        run.state.branch = branch;
        run.state.dynamic = dynamic;
        // Of what else was opened with it, it needs to know nothing.
        run.state.open.retain(|name, _| *name == row.reference_name);
        (row, input, run)
    }
}

/// Decides the end of a token's task from memory. None: it takes the slow way, with what is so
/// now; the run is to be thrown away then. `take` makes what the caller needs of each task to schedule.
pub(crate) fn plan_step<T>(
    run: &mut Run,
    token: &Token,
    (holder, worker): (i64, Option<Arc<str>>),
    end: &TaskEnd,
    take: impl Fn(PlannedTask) -> T,
) -> Option<Planned<T>> {
    let held = end.held_to_schema(&run.plan, &run.state);
    let end = &*held;
    let decision = decide(&run.plan, &mut run.state, &Event::Ended(end.clone())).ok()?;
    if !decision.events.is_empty() || decision.stays.is_some() {
        return None;
    }
    let end_of_run = decision.end.clone().map(|end| end.within_limits(&run.plan));
    if let Some(end) = &end_of_run {
        let fails = end.status != WorkflowStatus::Completed;
        if end.output.is_none() || undoes(run, end) || (fails && run.plan.has_failure_workflow()) {
            return None;
        }
    }
    let mut ended = EndedRow {
        token_id: token.id,
        rev: token.rev,
        holder,
        status: end.status,
        input: end.input.clone().filter(|_| token.input.is_none()),
        output: end.output.clone(),
        worker,
        reason: end.reason.clone(),
        run_end: end_of_run.map(run_end),
        has_parent: run.state.parent_id.is_some(),
        arrives: false,
        note: None,
        variables: None,
    };
    tell(&mut ended, &decision);
    let containers = Containers::of(&decision.scheduled, None);
    let opened = decision.scheduled.into_iter().map(|scheduled| {
        let container = containers.of_task(&scheduled);
        let row = opened_row(&scheduled, token.id, container, run.domains.as_ref());
        take(PlannedTask {
            row,
            input: scheduled.input,
            branch: scheduled.branch,
            for_worker: scheduled.node.kind.is_worker(),
            dynamic: scheduled.task_def.is_some().then_some(scheduled.node),
        })
    });
    Some(Planned { ended, opened: opened.collect() })
}
