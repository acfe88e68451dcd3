//! Starting runs: by single calls, in bulk, and until the first task begins.

use std::time::Instant;

use futures_util::SinkExt as _;
use oms_engine::tokio_postgres::{Client, Transaction};
use oms_engine::{StartRequest, WorkflowId};
use serde_json::json;
use tokio::task::JoinSet;

use super::linear::{request, start_all};
use super::tasks::{Stamp, now_us, one_of};
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::child::{Child, Job, Role};
use crate::limit::{self, OneByOne};
use crate::measure::figures::{figure, of, percentiles, value};
use crate::measure::linear::{LINEAR5, input};
use crate::measure::place::{Database, connect};
use crate::measure::{Failure, Figures, check, float};

const RATE: &str = "starts per second";
const CLIENTS: usize = 16;

/// Sixteen clients, each with one call at a time; nobody works on what they start.
pub(super) async fn single(bench: &Bench, _turn: usize) -> Measured {
    let runs = bench.size(2_000, 20_000);
    bench
        .alone(async |database| {
            let engine = engine(database, |builder| builder).await?;
            register(&engine, &LINEAR5.definition()).await?;
            let begun = database.begin().await?;
            let mut clients = JoinSet::new();
            for client in 0..CLIENTS {
                let engine = engine.clone();
                let own: Vec<usize> = (client..runs).step_by(CLIENTS).collect();
                clients.spawn(async move {
                    let mut millis = Vec::with_capacity(own.len());
                    for n in own {
                        let at = Instant::now();
                        engine.start(request(LINEAR5, n)).await?;
                        millis.push(at.elapsed().as_secs_f64() * 1e3);
                    }
                    Ok::<_, Failure>(millis)
                });
            }
            let mut millis = Vec::with_capacity(runs);
            while let Some(done) = clients.join_next().await {
                millis.extend(done??);
            }
            let used = database.used(&begun, float(runs)).await?;
            let mut figures = used.figures_of("start");
            figures.extend(percentiles("start", millis));
            engine.shutdown(GRACE).await;
            check::started(database.client(), runs).await?;
            Ok(figures)
        })
        .await
}

/// A thousand in each statement by one caller, against COPY of the same rows.
pub(super) async fn bulk(bench: &Bench, turn: usize) -> Measured {
    let runs = bench.size(10_000, 100_000);
    let (ours, theirs) = bench
        .in_turn(
            turn,
            async |database| {
                let engine = engine(database, |builder| builder).await?;
                register(&engine, &LINEAR5.definition()).await?;
                let begun = database.begin().await?;
                start_all(&engine, LINEAR5, runs).await?;
                let used = database.used(&begun, float(runs)).await?;
                engine.shutdown(GRACE).await;
                finish(database, runs, &used).await
            },
            async |database| {
                limit::migrate(database.client()).await?;
                let mut client = connect(database.url()).await?;
                let begun = database.begin().await?;
                for chunk in (0..runs).collect::<Vec<_>>().chunks(1_000) {
                    copy(&mut client, chunk).await?;
                }
                let used = database.used(&begun, float(runs)).await?;
                finish(database, runs, &used).await
            },
        )
        .await?;
    let ratio = value(&ours, RATE) / value(&theirs, RATE);
    let mut figures = vec![(figure("engine ÷ COPY", ""), ratio)];
    figures.extend(ours);
    figures.extend(of("COPY", theirs));
    Ok(figures)
}

async fn finish(
    database: &Database<'_>,
    runs: usize,
    used: &crate::measure::place::Used,
) -> Measured {
    check::started(database.client(), runs).await?;
    Ok(used.figures_of("start"))
}

/// Runs and their first tasks, in one transaction.
async fn copy(client: &mut Client, numbers: &[usize]) -> Result<(), Failure> {
    let (mut runs, mut tasks) = (String::new(), String::new());
    for n in numbers {
        let id = WorkflowId::new();
        runs.push_str(&format!("{id}\t1\tlinear5\t1\t{}\n", input(*n)));
        tasks.push_str(&format!("{id}\ts1\ts1\t0\n"));
    }
    let tx = client.transaction().await?;
    let columns = "oms_engine.workflows (id, definition_id, name, version, input)";
    copy_text(&tx, columns, runs).await?;
    let columns = "oms_engine.open_tasks (workflow_id, reference_name, queue, state)";
    copy_text(&tx, columns, tasks).await?;
    Ok(tx.commit().await?)
}

async fn copy_text(tx: &Transaction<'_>, into: &str, text: String) -> Result<(), Failure> {
    let sink = tx.copy_in(&format!("COPY {into} FROM STDIN")).await?;
    tokio::pin!(sink);
    sink.send(std::io::Cursor::new(text.into_bytes())).await?;
    sink.finish().await?;
    Ok(())
}

/// One at a time, from the start call until the task begins: in the same process, in another one,
/// and beside them how long one statement takes to be durable.
pub(super) async fn enqueue(bench: &Bench, _turn: usize) -> Measured {
    let runs = bench.size(100, 1_000);
    let here = bench.place.database().await?;
    let there = bench.place.database().await?;
    let bare = bench.place.database().await?;
    let definition = one_of("stamp", "stamp");
    let own = engine(&here, |builder| builder.task(Stamp)).await?;
    register(&own, &definition).await?;
    let far = engine(&there, |builder| builder).await?;
    register(&far, &definition).await?;
    let job = Job { url: there.url().to_owned(), role: Role::Works, concurrency: 256 };
    let worker = Child::spawn(&job).await?;
    limit::migrate(bare.client()).await?;
    let mut one_by_one = OneByOne::open(&bare, LINEAR5).await?;
    let (mut same, mut other, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..runs {
        for (engine, millis) in [(&own, &mut same), (&far, &mut other)] {
            let request = StartRequest::new("stamp").input(json!({"at_us": now_us()}));
            let started = engine.start(request).await?;
            let output = engine.result(started.id).await?;
            let waited = output.get("waited_us").and_then(serde_json::Value::as_f64);
            millis.push(waited.ok_or("a task that does not say when it began")? / 1e3);
        }
        commits.push(one_by_one.run(n).await?.start);
    }
    own.shutdown(GRACE).await;
    far.shutdown(GRACE).await;
    worker.stop().await?;
    here.drop().await?;
    there.drop().await?;
    bare.drop().await?;
    Ok(waits(same, other, commits))
}

fn waits(same: Vec<f64>, other: Vec<f64>, commits: Vec<f64>) -> Figures {
    let mut figures = percentiles("same process", same);
    figures.extend(percentiles("other process", other));
    figures.extend(percentiles("one commit of bare SQL", commits));
    let commit = value(&figures, "one commit of bare SQL, p50");
    for process in ["same process", "other process"] {
        let over = value(&figures, &format!("{process}, p50")) - commit;
        figures.push((figure(format!("{process}, over one commit"), "ms"), over));
    }
    figures
}
