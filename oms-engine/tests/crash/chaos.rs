//! Random kills of workers and of PostgreSQL while five hundred workflows run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::testkit::OwnPostgres;
use oms_engine::tokio_postgres::{Client, NoTls, connect};
use oms_engine::{Engine, StartRequest};
use serde_json::json;

use crate::common::{assert_nothing_stuck, line, until};
use crate::witness::{Witness, append_kill};
use crate::worker::{EFFECTS, Launch, Worker};
use crate::{PATIENCE, Random};

const WORKFLOWS: usize = 500;
const WORKER_KILLS: usize = 10;
const SERVER_FAULTS: usize = 3;

async fn client(url: &str) -> Client {
    let (client, connection) = connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// How many leases these processes hold; none when the server is away.
async fn leases(url: &str, workers: &[u32]) -> i64 {
    let names: Vec<String> = workers.iter().map(|id| format!("w{id}")).collect();
    let sql = "SELECT count(*) FROM oms_engine.open_tasks t
        JOIN oms_engine.holders h ON h.id = t.holder
        JOIN oms_engine.sessions s ON s.id = h.session_id
        WHERE t.state = 1 AND s.name = ANY ($1)";
    let row = client(url).await.query_one(sql, &[&names]).await;
    row.map_or(0, |row| row.get(0))
}

/// What a run waits for, so that the faults meet runs at every stage.
fn request(number: usize) -> StartRequest {
    let faults = number * (WORKER_KILLS + SERVER_FAULTS) / WORKFLOWS;
    StartRequest::new("storm").input(json!({"value": 40, "after_kills": faults}))
}

/// What hit while work was in flight.
#[derive(Debug, Default)]
struct Hits {
    workers: usize,
    server: usize,
    first_claims: Vec<Duration>,
}

/// Stops the server in one of three ways, starts it again, and times the first task after that.
async fn strike_server(server: &mut OwnPostgres, way: usize, witness: &Witness, hits: &mut Hits) {
    let url = server.url().to_owned();
    let probe = client(&url).await;
    let pid: i32 = probe.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    match way % 3 {
        0 => server.stop_immediate().await.unwrap(),
        1 => server.kill_postmaster().unwrap(),
        _ => server.kill_backend(pid).unwrap(),
    }
    server.start().await.unwrap();
    let begun = Instant::now();
    while connect(&url, NoTls).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the server does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Before the lines are counted: those who wait for it are to run on.
    append_kill(witness.path());
    let (up, before) = (Instant::now(), witness.lines().len());
    while witness.lines().len() == before {
        assert!(up.elapsed() < PATIENCE, "nothing runs after the server is up again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hits.server += 1;
    hits.first_claims.push(up.elapsed());
}

async fn storm(server: &mut OwnPostgres, witness: &Witness, workers: &mut [Worker]) -> Hits {
    let mut random = Random::seeded("chaos");
    let url = server.url().to_owned();
    let launch = Launch::new(&url, witness).concurrency(4);
    let (mut hits, begun) = (Hits::default(), Instant::now());
    while hits.workers < WORKER_KILLS || hits.server < SERVER_FAULTS {
        tokio::time::sleep(random.millis(100, 500)).await;
        assert!(begun.elapsed() < PATIENCE, "too few faults met work in flight: {hits:?}");
        let all: Vec<u32> = workers.iter().map(Worker::id).collect();
        let at_server = hits.workers == WORKER_KILLS || random.below(3) == 0;
        if hits.server < SERVER_FAULTS && at_server {
            if leases(&url, &all).await > 0 {
                let way = hits.server;
                strike_server(server, way, witness, &mut hits).await;
            }
        } else {
            let at = usize::try_from(random.below(workers.len() as u64)).unwrap();
            if leases(&url, &all[at..=at]).await > 0 {
                std::mem::replace(&mut workers[at], launch.start()).kill();
                append_kill(witness.path());
                hits.workers += 1;
            }
        }
    }
    hits
}

/// Each attempt ended once and none failed; effects in the database happened once, others at
/// least once.
async fn check(client: &Client, witness: &Witness) {
    let sql = "SELECT workflow_id::text || '.' || epoch || '.' || attempt || '.' || reference_name,
            status, queue FROM oms_engine.task_history";
    let rows = client.query(sql, &[]).await.unwrap();
    let mut booked = BTreeSet::new();
    let counts = witness.counts();
    assert_eq!(rows.len(), WORKFLOWS * 5);
    for row in &rows {
        let (task_id, status, queue): (String, i16, String) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(status, 0, "{task_id}: a fault of the server or a worker is no failure of it");
        assert!(counts.contains_key(&task_id), "{task_id} never ran");
        if queue == "book" {
            booked.insert(task_id);
        }
    }
    let rows = client.query("SELECT task_id FROM public.effects", &[]).await.unwrap();
    assert_eq!(rows.len(), booked.len(), "an effect happened twice, or not at all");
    let effects: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(effects, booked);
    let again = counts.values().filter(|times| **times > 1).count();
    println!("{again} of {} tasks ran more than once", counts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_workers_and_the_server_are_killed() {
    let mut server = OwnPostgres::create().await.unwrap();
    let url = server.url().to_owned();
    let witness = Witness::new();
    let starter = Engine::builder(&url).migrate().build().await.unwrap();
    client(&url).await.batch_execute(EFFECTS).await.unwrap();
    let mut def = line("storm", &["work", "book", "work", "book", "work"]);
    let after_kills = json!("${workflow.input.after_kills}");
    def.tasks[0].input_parameters.insert("after_kills".to_owned(), after_kills);
    starter.register_workflow(&def).await.unwrap();
    starter.start_many((0..WORKFLOWS).map(request).collect()).await.unwrap();
    starter.shutdown(Duration::ZERO).await;
    let launch = Launch::new(&url, &witness).concurrency(4);
    let mut workers: Vec<Worker> = (0..3).map(|_| launch.start()).collect();
    let hits = storm(&mut server, &witness, &mut workers).await;
    println!("faults that hit work in flight: {hits:?}");
    let client = client(&url).await;
    let ended = format!("SELECT count(*) = {WORKFLOWS} FROM oms_engine.workflows WHERE status = 2");
    until(&client, &ended).await;
    check(&client, &witness).await;
    assert_nothing_stuck(&client).await;
    // The dead are buried, though they hold nothing; then they are only forgotten.
    let ids: Vec<String> = workers.iter().map(|worker| format!("'w{}'", worker.id())).collect();
    let buried = format!(
        "SELECT NOT EXISTS (SELECT FROM oms_engine.sessions
            WHERE dead_at IS NULL AND name NOT IN ({})) ",
        ids.join(", ")
    );
    until(&client, &buried).await;
    let worst = hits.first_claims.iter().max().unwrap();
    // The goal is two seconds; a busy machine gets more.
    assert!(*worst < Duration::from_secs(6), "first claim after {worst:?}");
}
