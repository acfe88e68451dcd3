//! The example `order_storm`, small.

#[path = "../../examples/order_storm/mod.rs"]
mod storm;

use std::process::Command;
use std::time::Duration;

use storm::{Failure, Plan};

/// The test binary, started again to run the test below.
fn worker() -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "a_small_storm_leaves_the_books_in_balance"]);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_storm_leaves_the_books_in_balance() {
    if storm::is_worker() {
        return storm::work().await.unwrap();
    }
    let patience = Duration::from_secs(150);
    let plan = Plan { orders: 120, pieces: 30, workers: 2, seed: 7, patience };
    let report = storm::rage(&plan, worker, |_| {}).await.unwrap();
    assert!(report.balanced, "{:#?}", report.findings);
    assert_eq!(report.completed + report.failed + report.cancelled, 120, "{report:?}");
    assert!(report.completed > 10 && report.failed > 20 && report.cancelled > 0, "{report:?}");
    assert!(report.kills > 0, "{report:?}");
    assert_eq!(report.pieces_shipped + report.pieces_left, 30, "{report:?}");
}
