//! Schedules under kills: each fire starts one run, whoever is killed when.

use oms_engine::Engine;
use oms_engine::definition::WorkflowSchedule;

use crate::common::{assert_nothing_stuck, database, line, until};
use crate::witness::Witness;
use crate::worker::Launch;
use crate::{PATIENCE, Random};

/// Minutes that are caught up.
const MISSED: i64 = 600;

#[tokio::test(flavor = "multi_thread")]
async fn each_fire_starts_one_run_though_engines_are_killed_all_the_time() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    for name in ["a", "b", "c"] {
        let schedule = WorkflowSchedule::new(name, "0 * * * * *", "one").catch_up(10_000);
        engine.put_schedule(&schedule).await.unwrap();
    }
    engine.shutdown(std::time::Duration::ZERO).await;
    let due = format!(
        "UPDATE oms_engine.schedules
         SET next_fire_at = date_trunc('minute', now()) - interval '{MISSED} minutes'"
    );
    client.execute(&due, &[]).await.unwrap();
    let mut random = Random::seeded("schedules");
    let launch = Launch::new(database.url(), &witness);
    let mut workers = vec![launch.start(), launch.start(), launch.start()];
    let begun = std::time::Instant::now();
    let caught_up = "SELECT count(*) FROM oms_engine.schedules WHERE next_fire_at <= now()";
    while client.query_one(caught_up, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(begun.elapsed() < PATIENCE, "not caught up");
        tokio::time::sleep(random.millis(20, 120)).await;
        let index = usize::try_from(random.below(3)).unwrap();
        workers.swap_remove(index).kill();
        workers.push(launch.start());
    }
    client.execute("UPDATE oms_engine.schedules SET paused = true", &[]).await.unwrap();
    let ended = "SELECT count(*) = 0 FROM oms_engine.workflows WHERE status <> 2";
    until(&client, ended).await;
    let sql = "SELECT input ->> '_startedByScheduler', count(*),
                      count(DISTINCT input ->> '_scheduledTime'),
                      ((max((input ->> '_scheduledTime')::bigint)
                        - min((input ->> '_scheduledTime')::bigint)) / 60000)::bigint + 1
               FROM oms_engine.workflows GROUP BY 1 ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let (name, runs, fires, minutes): (String, i64, i64, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!((runs, fires), (minutes, minutes), "{name}");
        assert!(runs > MISSED, "{name}: {runs}");
    }
    assert_nothing_stuck(&client).await;
}
