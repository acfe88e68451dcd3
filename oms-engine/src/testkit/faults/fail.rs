//! Each step fails in each way.

use std::collections::BTreeSet;

use super::script::{Deed, Kind};
use super::trial::{Definitions, Done, Tally, run_all};
use super::{KitOptions, Report, Step, Subject, Way};
use crate::testkit::TestkitError;

/// Runs the workflow once as it is; then once for each step and each way in which it can fail. Steps that
/// only come where another one failed, such as those that undo, fail in turn, each in the run in which
/// most had been done before.
///
/// A [`Way`] that makes no difference to a step is left out: a time-out where the task has none, and what
/// comes after the work of a transactional task, which is rolled back.
///
/// # Errors
/// [`TestkitError::Broken`] with all that the checker had against it; others when something could not be
/// run at all.
///
/// # Cancel safety
/// Dropping the future ends all runs.
pub async fn fail_each_step<S: Subject>(
    subject: &S,
    options: &KitOptions,
) -> Result<Report, TestkitError> {
    let definitions = Definitions::of(subject)?;
    let (mut tally, mut known) = (Tally::default(), BTreeSet::new());
    let mut todo = vec![Vec::new()];
    while !todo.is_empty() {
        let done = run_all(subject, options, &definitions, todo).await?;
        done.iter().for_each(|done| tally.add(done));
        todo = next(subject, &definitions, &done, &mut known);
    }
    tally.report.steps = known.into_iter().map(|step| step.reference_name).collect();
    tally.report.steps.dedup();
    tally.ended()
}

/// The faults of all steps that are seen for the first time.
fn next(
    subject: &impl Subject,
    definitions: &Definitions,
    done: &[Done],
    known: &mut BTreeSet<Step>,
) -> Vec<Vec<(Step, Deed)>> {
    let mut longest: Vec<&Done> = done.iter().collect();
    // A stable sort, so that the same run is taken each time.
    longest.sort_by_key(|done| std::cmp::Reverse(done.seen.len()));
    let mut todo = Vec::new();
    for done in longest {
        for (step, kind) in &done.seen {
            if !known.insert(step.clone()) {
                continue;
            }
            let ways = subject.ways(step).into_iter();
            for way in ways.filter(|way| is_of_use(*way, *kind, step, definitions)) {
                let mut deeds = done.deeds.clone();
                deeds.push((step.clone(), Deed::Fail(way)));
                todo.push(deeds);
            }
        }
    }
    todo
}

fn is_of_use(way: Way, kind: Kind, step: &Step, definitions: &Definitions) -> bool {
    let of_transaction = !matches!(way, Way::FailsAfter | Way::FailsForGoodAfter | Way::Late);
    (kind == Kind::Plain || of_transaction)
        && (!way.waits_for_time_out() || definitions.times_out(&step.task))
}
