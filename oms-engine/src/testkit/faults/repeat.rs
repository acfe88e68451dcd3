//! Each step's work is done again.

use super::script::{Deed, Kind};
use super::trial::{Definitions, Tally, run_all};
use super::{KitOptions, Report, Step, Subject};
use crate::testkit::TestkitError;

/// Runs the workflow once as it is; then once for each step, whose work is done twice in one attempt, as
/// when its result is lost and it is handed out again; once for each step that is no transactional task,
/// whose work is done once more when all has ended, as by a worker that hung; and once with all steps
/// repeated.
///
/// The first work of a transactional task is rolled back, as it is when a commit is lost.
///
/// # Errors
/// As [`fail_each_step`](super::fail_each_step).
///
/// # Cancel safety
/// Dropping the future ends all runs.
pub async fn repeat_each_step<S: Subject>(
    subject: &S,
    options: &KitOptions,
) -> Result<Report, TestkitError> {
    let definitions = Definitions::of(subject)?;
    let mut tally = Tally::default();
    let clean = run_all(subject, options, &definitions, vec![Vec::new()]).await?;
    let steps: Vec<(Step, Kind)> = clean.iter().flat_map(|done| done.seen.clone()).collect();
    clean.iter().for_each(|done| tally.add(done));
    let at_once = |(step, _): &(Step, Kind)| (step.clone(), Deed::RepeatAtOnce);
    let plain = steps.iter().filter(|(_, kind)| *kind == Kind::Plain);
    let mut todo: Vec<Vec<(Step, Deed)>> = steps.iter().map(|step| vec![at_once(step)]).collect();
    todo.extend(plain.map(|(step, _)| vec![(step.clone(), Deed::RepeatAtEnd)]));
    todo.push(steps.iter().map(at_once).collect());
    let done = run_all(subject, options, &definitions, todo).await?;
    done.iter().for_each(|done| tally.add(done));
    tally.report.steps = steps.into_iter().map(|(step, _)| step.reference_name).collect();
    tally.ended()
}
