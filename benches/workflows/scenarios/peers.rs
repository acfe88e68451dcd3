//! Other engines with the same work on the same server, as far as their programs have been built.

use std::path::{Path, PathBuf};

use super::Measured;
use super::linear::{RATE, drain_engine};
use crate::bench::Bench;
use crate::child::Child;
use crate::measure::figures::{figure, of, value};
use crate::measure::linear::LINEAR5;
use crate::measure::{Figures, float};

/// What is compared, and what it is.
const PEERS: [(&str, &str); 5] = [
    ("dbos", "dbos"),
    ("duroxide", "duroxide"),
    ("underway", "underway"),
    ("graphile", "graphile_worker (five plain jobs, no workflow)"),
    (RESTATE, "Restate (a server with a log of its own, no PostgreSQL)"),
];
const RESTATE: &str = "restate";
/// What its program starts.
const RESTATE_SERVER: &str = "restate-server";
/// Settings that programs cannot give themselves.
const VARIABLES: [(&str, &str); 1] = [("DUROXIDE_PG_POOL_MAX", "20")];

fn program(peer: &str) -> PathBuf {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peers/target/release");
    benches.join(format!("peer-{peer}"))
}

/// Why a peer cannot run.
fn missing(peer: &str) -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_server = || std::env::split_paths(&path).any(|at| at.join(RESTATE_SERVER).exists());
    if !program(peer).exists() {
        return Some("has not been built");
    }
    (peer == RESTATE && !has_server()).then_some("has no restate-server on the PATH")
}

/// Of what does not use it, its figures say nothing.
fn without_postgres(figures: Figures) -> Figures {
    let says = |name: &str| name == RATE || name.starts_with("CPU of this program");
    figures.into_iter().filter(|(figure, _)| says(&figure.name)).collect()
}

pub(super) async fn drain(bench: &Bench, _turn: usize) -> Measured {
    let (runs, runs_of_peers) = (bench.size(2_000, 20_000), bench.size(200, 2_000));
    let ours = bench.alone(async |database| drain_engine(database, LINEAR5, runs).await).await?;
    let rate = value(&ours, RATE);
    let mut figures = of("engine", ours);
    for (peer, name) in PEERS {
        if let Some(missing) = missing(peer) {
            bench.say(&format!("peers: {name} {missing}; see benches/peers/README.md"));
            continue;
        }
        bench.say(&format!("peers, {name}"));
        let theirs = bench
            .alone(async |database| {
                let runs = runs_of_peers;
                let arguments = [database.url(), &runs.to_string()];
                let mut child = Child::of(program(peer), &arguments, &VARIABLES).await?;
                let begun = database.begin().await?;
                child.tell("go").await?;
                child.until("done").await?;
                let used = database.used(&begun, float(runs)).await?;
                child.stop().await?;
                Ok(used.figures_of("workflow"))
            })
            .await?;
        let theirs = if peer == RESTATE { without_postgres(theirs) } else { theirs };
        let theirs_rate = value(&theirs, RATE);
        figures.push((figure(format!("engine ÷ {name}"), ""), rate / theirs_rate));
        figures.extend(of(name, theirs));
    }
    Ok(figures)
}
