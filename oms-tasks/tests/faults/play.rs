//! The kit on one kind of order, with figures.

use std::time::Instant;

use oms_engine::testkit::{
    KitOptions, Report, crash_each_commit, fail_each_step, repeat_each_step,
};
use tokio::sync::Semaphore;

use crate::subject::{Order, is_worker};

/// Each keeps a core busy: with more at once, attempts answer too late on a small machine.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

fn shown(what: &str, begun: Instant, report: &Report) {
    let Report { runs, hits, missed, .. } = report;
    println!("{what}: {runs} runs, {hits} faults hit, in {:.1?}", begun.elapsed());
    assert!(missed.is_empty(), "{missed:?}");
}

/// At least so many steps are there to fail.
pub(crate) async fn fails(order: Order, steps: usize) {
    let _turn = AT_ONCE.acquire().await.unwrap();
    let begun = Instant::now();
    let report = fail_each_step(&order, &KitOptions::default()).await.unwrap();
    shown("failures", begun, &report);
    assert!(report.steps.len() >= steps, "{:?}", report.steps);
}

/// At least so many steps are there to repeat.
pub(crate) async fn repeats(order: Order, steps: usize) {
    let _turn = AT_ONCE.acquire().await.unwrap();
    let begun = Instant::now();
    let report = repeat_each_step(&order, &KitOptions::default()).await.unwrap();
    shown("repeats", begun, &report);
    assert!(report.steps.len() >= steps, "{:?}", report.steps);
}

/// At least so many kills hit, beginning with that commit, and orders end in these ways; or this process
/// is the one that is killed.
pub(crate) async fn crashes(
    order: impl FnOnce() -> Order,
    first_commit: usize,
    kills: usize,
    ends: &[&str],
) {
    if is_worker().await {
        return;
    }
    let _turn = AT_ONCE.acquire().await.unwrap();
    let (begun, order, mut options) = (Instant::now(), order(), KitOptions::default());
    options.first_commit = first_commit;
    let report = crash_each_commit(&order, &options).await.unwrap();
    shown("crashes", begun, &report);
    assert!(report.hits >= kills, "{report:?}");
    assert_eq!(order.ended(), ends);
}
