//! Orders come in while workers and the server are killed, each time with work in flight.

use std::time::{Duration, Instant};

use oms_engine::testkit::OwnPostgres;
use oms_engine::{Engine, StartRequest};
use tokio_postgres::Client;

use crate::common::worker::{Launch, Worker};
use crate::common::{PATIENCE, connect};
use crate::orders::Placed;
use crate::random::Random;

/// Faults that must hit while work is in flight.
const WORKER_KILLS: usize = 8;
const SERVER_STOPS: usize = 3;

/// What hit while work was in flight.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// For each killed worker the tasks that it held.
    workers: Vec<i64>,
    /// For each stop of the server the runs that were open when it was up again, and the tasks
    /// that one worker held before.
    server: Vec<(i64, i64)>,
    /// Batches of orders that had to be placed more than once for an answer.
    placed_again: usize,
}

pub(crate) struct Storm {
    server: OwnPostgres,
    workers: Vec<Worker>,
    random: Random,
    pub(crate) hits: Hits,
}

impl Storm {
    pub(crate) fn new(server: OwnPostgres, workers: Vec<Worker>, random: Random) -> Self {
        Self { server, workers, random, hits: Hits::default() }
    }

    /// Places the orders in batches, a fault while or after each but the last is placed.
    pub(crate) async fn rage(&mut self, engine: &Engine, launch: &Launch, orders: &[Placed]) {
        let faults = WORKER_KILLS + SERVER_STOPS;
        let batches: Vec<_> = orders.chunks(orders.len().div_ceil(faults + 1)).collect();
        let spread = faults / SERVER_STOPS;
        let stops: Vec<usize> =
            (0..SERVER_STOPS).map(|n| n * spread + self.random.below(spread)).collect();
        for (n, batch) in batches.into_iter().enumerate() {
            let (before, meanwhile) = batch.split_at(batch.len() / 2);
            self.hits.placed_again += place(engine.clone(), before).await;
            tokio::time::sleep(self.random.millis(1, 500)).await;
            let placing = tokio::spawn(place(engine.clone(), meanwhile));
            if stops.contains(&n) {
                self.stop_server(launch).await;
            } else if n < faults {
                self.kill_worker(launch).await;
            }
            self.hits.placed_again += placing.await.unwrap();
        }
    }

    /// Kills a worker that holds tasks, and starts another in its place.
    async fn kill_worker(&mut self, launch: &Launch) {
        let client = connect(&launch.url).await;
        let (victim, tasks) = self.freeze_one(&client).await;
        victim.kill();
        self.workers.push(launch.start());
        self.hits.workers.push(tasks);
    }

    /// Takes a worker out that holds tasks, and how many. It is stopped before it is looked at, so
    /// that it cannot have finished them by the time it is killed.
    async fn freeze_one(&mut self, client: &Client) -> (Worker, i64) {
        let held = "SELECT count(*) FROM oms_engine.open_tasks t
            JOIN oms_engine.holders h ON h.id = t.holder
            JOIN oms_engine.sessions s ON s.id = h.session_id
            WHERE t.state = 1 AND s.name = $1";
        let begun = Instant::now();
        loop {
            let at = self.random.below(self.workers.len());
            let victim = &self.workers[at];
            victim.signal("-STOP");
            let tasks: i64 = client.query_one(held, &[&victim.name()]).await.unwrap().get(0);
            if tasks > 0 {
                return (self.workers.swap_remove(at), tasks);
            }
            victim.signal("-CONT");
            assert!(begun.elapsed() < PATIENCE, "no worker holds anything: {:?}", self.hits);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the server at once, or kills it, while a worker holds tasks; starts it a little later.
    /// Every other time that worker dies with it.
    async fn stop_server(&mut self, launch: &Launch) {
        let client = connect(&launch.url).await;
        let (frozen, tasks) = self.freeze_one(&client).await;
        let worker_dies = self.hits.server.len() % 2 == 1;
        if worker_dies {
            self.server.kill_postmaster().unwrap();
            frozen.kill();
        } else {
            self.server.stop_immediate().await.unwrap();
            frozen.signal("-CONT");
            self.workers.push(frozen);
        }
        tokio::time::sleep(self.random.millis(1, 800)).await;
        self.server.start().await.unwrap();
        let open = "SELECT count(*) FROM oms_engine.workflows WHERE status = 0";
        let client = connect(&launch.url).await;
        let open: i64 = client.query_one(open, &[]).await.unwrap().get(0);
        self.hits.server.push((open, tasks));
        if worker_dies {
            self.workers.push(launch.start());
        }
    }

    pub(crate) fn assert_hits(&self) {
        let Hits { workers, server, .. } = &self.hits;
        let workers = workers.iter().filter(|tasks| **tasks > 0).count();
        let server = server.iter().filter(|(open, tasks)| *open > 0 && *tasks > 0).count();
        assert!(workers >= WORKER_KILLS && server >= SERVER_STOPS, "{:?}", self.hits);
    }
}

/// Places orders, again and again until there is an answer; gives how often there was none.
pub(crate) fn place(
    engine: Engine,
    orders: &[Placed],
) -> impl Future<Output = usize> + Send + 'static {
    let requests: Vec<StartRequest> = orders.iter().map(Placed::request).collect();
    async move {
        let begun = Instant::now();
        let mut unanswered = 0;
        loop {
            match engine.start_many(requests.clone()).await {
                Ok(started) => {
                    assert_eq!(started.len(), requests.len());
                    return unanswered;
                }
                Err(error) => {
                    let wait = error.is_retryable() && begun.elapsed() < PATIENCE;
                    assert!(wait, "orders cannot be placed: {error}");
                    unanswered += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
