//! Processes that hold tasks with a limit are killed.

use std::time::Duration;

use oms_engine::{Engine, StartRequest, TaskDef};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, line, until};
use crate::witness::Witness;
use crate::worker::Launch;
use crate::{Random, wait_until};

const LIMIT: i32 = 3;
const RUNS: usize = 40;
const KILLS: usize = 6;

/// Notes how many are leased whenever one more is: claims come one after the other, so that this
/// sees all that there are.
const WATCH: &str = "
    CREATE TABLE public.leased (n bigint NOT NULL);
    CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.leased
        SELECT count(*)
        FROM oms_engine.open_tasks WHERE state = 1 AND queue = 'work';
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER UPDATE ON oms_engine.open_tasks FOR EACH ROW
        WHEN (new.state = 1 AND old.state <> 1 AND new.queue = 'work')
        EXECUTE FUNCTION public.watch()";

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_while_those_who_hold_its_tasks_are_killed() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(WATCH).await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let mut def = TaskDef::new("work");
    def.concurrent_exec_limit = Some(LIMIT);
    engine.register(&[def], &[line("three", &["work"; 3])]).await.unwrap();
    let launch = Launch::new(database.url(), &witness).limit(Duration::from_secs(3));
    let mut workers = vec![launch.start(), launch.start(), launch.start()];
    let requests = (0..RUNS).map(|_| StartRequest::new("three").input(json!({"value": 20})));
    engine.start_many(requests.collect()).await.unwrap();
    let mut random = Random::seeded("kills of limited tasks");
    for kill in 1..=KILLS {
        let seen = kill * RUNS * 3 / (KILLS + 2);
        wait_until("more tasks run", || witness.lines().len() >= seen);
        let at = usize::try_from(random.below(3)).unwrap();
        workers.swap_remove(at).kill();
        workers.push(launch.start());
    }
    let all = format!("SELECT count(*) = {RUNS} FROM oms_engine.workflows WHERE status = 2");
    until(&client, &all).await;
    let row = client.query_one("SELECT max(n), count(*) FROM public.leased", &[]).await.unwrap();
    let (most, claims): (i64, i64) = (row.get(0), row.get(1));
    let repeated = witness.counts().values().filter(|times| **times > 1).count();
    println!("{claims} claims, {most} leased at most, {repeated} tasks ran again");
    assert_eq!(most, i64::from(LIMIT));
    assert!(usize::try_from(claims).unwrap() >= RUNS * 3);
    assert_nothing_stuck(&client).await;
}
