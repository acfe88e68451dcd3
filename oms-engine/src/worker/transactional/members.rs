//! What is done with the tasks of a batch as such: waited for, told apart, told of.

use futures_util::future::select_all;
use tracing::Span;

use super::Member;
use crate::queue::Outcome;
use crate::telemetry::batch_span;
use crate::worker::execute::report;

/// What a body says stands in its task's span, or in one of the batch.
pub(super) fn around(batch: &[Member]) -> Span {
    match batch {
        // Whoever runs a task by itself stands in its span already.
        [member] if Span::current().id() == member.task.span.id() => Span::none(),
        [member] => member.task.span.clone(),
        _ => {
            let queue = batch.first().map_or("", |member| &*member.task.token.queue);
            batch_span(queue, batch.iter().map(|member| &member.task.span))
        }
    }
}

/// Returns when a task of these is canceled.
pub(super) async fn canceled(batch: &[Member]) {
    if let [member] = batch {
        return member.cx.cancelled().await;
    }
    select_all(batch.iter().map(|member| Box::pin(member.cx.cancelled()))).await;
}

/// Those that are still wanted. The others are to run again elsewhere.
pub(super) async fn without_canceled(batch: Vec<Member>) -> Vec<Member> {
    let mut wanted = Vec::with_capacity(batch.len());
    for member in batch {
        if member.cx.cancellation().is_cancelled() {
            tell(member, Outcome::Abandoned).await;
        } else {
            wanted.push(member);
        }
    }
    wanted
}

pub(super) async fn tell(member: Member, outcome: Outcome) {
    report(member.task, member.cx.take_log(), outcome).await;
}

/// An outcome is that of a task alone.
pub(super) async fn end_alone(batch: Vec<Member>, outcome: Outcome) -> Vec<Vec<Member>> {
    let mut batch = batch.into_iter();
    if let Some(member) = batch.next() {
        tell(member, outcome).await;
    }
    batch.map(|member| vec![member]).collect()
}

/// The first is to be run first.
pub(super) fn halves(mut batch: Vec<Member>) -> Vec<Vec<Member>> {
    let second = batch.split_off(batch.len() / 2);
    vec![second, batch]
}
