//! A worker process is killed while it holds work: how long until its tasks run elsewhere.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::tasks::TakesOver;
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::child::{Child, Job, Role};
use crate::measure::figures::{figure, percentiles, quantile};
use crate::measure::place::Database;
use crate::measure::{Failure, float};

/// What the process holds when it is killed.
const HELD: usize = 10;
/// Longer than the heartbeat's limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a process holds its work before it is killed, in turn: not at all, and so long that the
/// others have heard of it.
const HELD_FOR: [Duration; 2] = [Duration::ZERO, Duration::from_secs(3)];

pub(super) async fn kills(bench: &Bench, _turn: usize) -> Measured {
    let kills = bench.size(6, 200);
    let (told, mut runs_elsewhere) = mpsc::unbounded_channel();
    let database = bench.place.database().await?;
    let engine = engine(&database, |builder| builder.task(TakesOver(told))).await?;
    let definition = json!({"name": "held", "tasks": [
        {"name": "held", "taskReferenceName": "held", "type": "SIMPLE"},
    ]});
    register(&engine, &definition).await?;
    let (mut at_once, mut later) = (Vec::new(), Vec::new());
    for (kill, held_for) in (0..kills).zip(HELD_FOR.iter().cycle()) {
        bench.say(&format!("crash, kill {} of {kills}", kill + 1));
        let longest = kill_one(&database, *held_for, &mut runs_elsewhere).await?;
        if held_for.is_zero() { at_once.extend(longest) } else { later.extend(longest) }
    }
    engine.shutdown(GRACE).await;
    let sql = "SELECT count(*) FROM oms_engine.workflows WHERE status = 2";
    let completed: i64 = database.client().query_one(sql, &[]).await?.get(0);
    if completed != i64::try_from(kills * HELD)? {
        return Err(format!("{completed} of {} runs are COMPLETED", kills * HELD).into());
    }
    database.drop().await?;
    let counted = at_once.len() + later.len();
    let mut figures = vec![(figure("kills of a process that held tasks", ""), float(counted))];
    for (what, mut millis) in [("held for 3 s", later), ("held for no time", at_once)] {
        figures.extend(percentiles(what, millis.clone()));
        millis.sort_by(f64::total_cmp);
        figures.push((figure(format!("{what}, worst"), "ms"), quantile(&millis, 1.0)));
    }
    Ok(figures)
}

/// From the kill of a process until the last of its tasks runs elsewhere, in ms; none where it held
/// none.
async fn kill_one(
    database: &Database<'_>,
    held_for: Duration,
    runs_elsewhere: &mut UnboundedReceiver<Instant>,
) -> Result<Option<f64>, Failure> {
    let job = Job { url: database.url().to_owned(), role: Role::Holds, concurrency: 256 };
    let mut victim = Child::spawn(&job).await?;
    victim.tell(&HELD.to_string()).await?;
    // One that started before it could take its own tasks leaves them to others.
    let (mut held, mut gone) = (0, 0);
    while held + gone < HELD {
        tokio::select! {
            said = victim.until("held") => { said?; held += 1; }
            ran = runs_elsewhere.recv() => { ran.ok_or("no worker")?; gone += 1; }
        }
    }
    tokio::time::sleep(held_for).await;
    let at = Instant::now();
    victim.start_kill()?;
    let mut longest = 0.0_f64;
    for _ in 0..held {
        let wait = tokio::time::timeout(PATIENCE, runs_elsewhere.recv());
        let ran = wait.await.map_err(|_| "a task is lost")?.ok_or("no worker")?;
        longest = longest.max(ran.duration_since(at).as_secs_f64() * 1e3);
    }
    victim.ended().await?;
    Ok((held > 0).then_some(longest))
}
