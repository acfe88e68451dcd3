//! A worker process is killed while it holds work: how long until its tasks run elsewhere.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use super::tasks::TakesOver;
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::child::{Child, Job, Role};
use crate::measure::figures::{figure, percentiles, quantile};
use crate::measure::float;

/// What the process holds when it is killed.
const HELD: usize = 10;
/// Longer than the heartbeat's limit.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn kills(bench: &Bench, _turn: usize) -> Measured {
    let kills = bench.size(5, 100);
    let (told, mut runs_elsewhere) = mpsc::unbounded_channel();
    let database = bench.place.database().await?;
    let engine = engine(&database, |builder| builder.task(TakesOver(told))).await?;
    let definition = json!({"name": "held", "tasks": [
        {"name": "held", "taskReferenceName": "held", "type": "SIMPLE"},
    ]});
    register(&engine, &definition).await?;
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        let job = Job { url: database.url().to_owned(), role: Role::Holds, concurrency: 256 };
        let mut victim = Child::spawn(&job).await?;
        victim.tell(&HELD.to_string()).await?;
        for _ in 0..HELD {
            victim.until("held").await?;
        }
        let at = Instant::now();
        victim.start_kill()?;
        let mut longest = 0.0_f64;
        for _ in 0..HELD {
            let wait = tokio::time::timeout(PATIENCE, runs_elsewhere.recv());
            let ran: Instant = wait.await.map_err(|_| "a task is lost")?.ok_or("no worker")?;
            let millis = ran.duration_since(at).as_secs_f64() * 1e3;
            all.push(millis);
            longest = longest.max(millis);
        }
        last.push(longest);
        victim.ended().await?;
    }
    engine.shutdown(GRACE).await;
    let sql = "SELECT count(*) FROM oms_engine.workflows WHERE status = 2";
    let completed: i64 = database.client().query_one(sql, &[]).await?.get(0);
    if completed != i64::try_from(kills * HELD)? {
        return Err(format!("{completed} of {} runs are COMPLETED", kills * HELD).into());
    }
    database.drop().await?;
    last.sort_by(f64::total_cmp);
    let mut figures = vec![(figure("kills", ""), float(kills))];
    figures.extend(percentiles("all its tasks run elsewhere", last.clone()));
    figures.push((figure("all its tasks run elsewhere, worst", "ms"), quantile(&last, 1.0)));
    figures.extend(percentiles("one of them", all));
    Ok(figures)
}
