//! Workflows that start by a cron expression: each fire once, none early, none held up by another.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::script::{Gate, Work, told};
use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use oms_engine::definition::{OverlapPolicy, WorkflowSchedule};
use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, Error, FireState, ScheduleFire, TaskStatus, WorkflowStatus};
use serde_json::{Value, json};

/// Once a year: what fires in a test is what the test has put into the past.
const RARE: &str = "0 0 0 1 1 *";

async fn ready(database: &TestDatabase) -> Engine {
    let work = Work::new(|_, input| async move { Ok(input) });
    let engine = engine(database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    engine
}

/// Moves the next fire of a schedule: an SQL expression of a time.
async fn make_due(database: &TestDatabase, name: &str, at: &str) {
    let sql = format!(
        "UPDATE oms_engine.schedules SET next_fire_at = {at}, next_cron = 0 WHERE name = '{name}'"
    );
    assert_eq!(database.connect().await.unwrap().execute(&sql, &[]).await.unwrap(), 1);
}

async fn until_fires(database: &TestDatabase, name: &str, count: usize) {
    let sql = format!(
        "SELECT count(*) >= {count} FROM oms_engine.schedule_fires WHERE schedule = '{name}'"
    );
    until(&database.connect().await.unwrap(), &sql).await;
}

async fn fires(engine: &Engine, name: &str) -> Vec<ScheduleFire> {
    let mut fires = engine.schedule_fires(name, 1_000).await.unwrap();
    fires.reverse();
    fires
}

async fn runs(database: &TestDatabase) -> i64 {
    let client = database.connect().await.unwrap();
    client.query_one("SELECT count(*) FROM oms_engine.workflows", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_fire_starts_the_run_that_its_schedule_asks_for_and_says_so_in_its_input() {
    let database = database().await;
    let engine = ready(&database).await;
    let mut schedule = WorkflowSchedule::new("yearly", RARE, "one").input("value", 7);
    schedule.zone_id = Some("Europe/Berlin".to_owned());
    schedule.start_workflow_request.priority = 3;
    schedule.start_workflow_request.correlation_id = Some("books".to_owned());
    let put = engine.put_schedule(&schedule).await.unwrap();
    let next = engine.next_fires(RARE, "Europe/Berlin", 1).await.unwrap();
    assert_eq!(put.next_run_time, Some(next[0].timestamp_millis()));
    assert!(put.create_time.is_some() && put.create_time == put.updated_time);
    make_due(&database, "yearly", "date_trunc('second', now()) - interval '5 seconds'").await;
    until_fires(&database, "yearly", 1).await;
    let fire = fires(&engine, "yearly").await.remove(0);
    let run = wait(&engine, fire.workflow_id.unwrap()).await;
    assert_eq!((run.status, run.priority), (WorkflowStatus::Completed, 3));
    assert_eq!(run.correlation_id.as_deref(), Some("books"));
    assert_eq!(
        run.input,
        json!({
            "value": 7,
            "_startedByScheduler": "yearly",
            "_scheduledTime": fire.scheduled_time.timestamp_millis(),
            "_executedTime": run.input["_executedTime"],
            "_executionId": fire.execution_id,
            "_schedulerCron": "0 0 0 1 1 * Europe/Berlin",
        })
    );
    let late = fire.execution_time - fire.scheduled_time;
    assert!(late.num_seconds() >= 5, "{late}");
    assert_eq!((fire.state, fire.zone_id.as_str()), (FireState::Executed, "Europe/Berlin"));
    let shown = serde_json::to_value(&fire).unwrap();
    assert_eq!((&shown["state"], &shown["workflowName"]), (&json!("EXECUTED"), &json!("one")));
    assert_eq!(engine.schedule("yearly").await.unwrap().next_run_time, put.next_run_time);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn a_schedule_fires_in_time_and_never_early_on_whichever_engine() {
    let database = database().await;
    // Neither looks by itself: the one that fires is woken.
    let work = || Work::new(|_, input| async move { Ok(input) });
    let engines = [
        told(&database).task(work()).build().await.unwrap(),
        told(&database).task(work()).build().await.unwrap(),
        told(&database).task(work()).build().await.unwrap(),
    ];
    engines[0].register_workflow(&line("one", &["work"])).await.unwrap();
    engines[0].put_schedule(&WorkflowSchedule::new("often", "* * * * * *", "one")).await.unwrap();
    until_fires(&database, "often", 4).await;
    engines[1].pause_schedule("often", None).await.unwrap();
    let fires = fires(&engines[2], "often").await;
    let times: BTreeSet<_> = fires.iter().map(|fire| fire.scheduled_time).collect();
    assert_eq!(times.len(), fires.len());
    assert!(fires.iter().all(|fire| fire.execution_time >= fire.scheduled_time), "{fires:?}");
    let client = database.connect().await.unwrap();
    let early = "SELECT count(*) FROM oms_engine.workflows
                 WHERE created_at < to_timestamp((input ->> '_scheduledTime')::bigint / 1000)";
    assert_eq!(client.query_one(early, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(runs(&database).await, i64::try_from(fires.len()).unwrap());
}

#[tokio::test]
async fn one_late_fire_stands_for_all_that_were_missed() {
    let database = database().await;
    let engine = ready(&database).await;
    engine.put_schedule(&WorkflowSchedule::new("hourly", "0 0 * * * *", "one")).await.unwrap();
    make_due(&database, "hourly", "date_trunc('hour', now()) - interval '7 hours'").await;
    until_fires(&database, "hourly", 1).await;
    let client = database.connect().await.unwrap();
    let next = "SELECT next_fire_at > now() FROM oms_engine.schedules";
    assert!(client.query_one(next, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!((fires(&engine, "hourly").await.len(), runs(&database).await), (1, 1));
}

#[tokio::test]
async fn what_was_missed_is_caught_up_oldest_first_and_no_more_than_the_limit() {
    let database = database().await;
    let engine = ready(&database).await;
    let schedule = WorkflowSchedule::new("hourly", "0 0 * * * *", "one");
    engine.put_schedule(&schedule.catch_up(5)).await.unwrap();
    make_due(&database, "hourly", "date_trunc('hour', now()) - interval '100 hours'").await;
    until_fires(&database, "hourly", 6).await;
    let fires = fires(&engine, "hourly").await;
    let states: Vec<FireState> = fires.iter().map(|fire| fire.state).collect();
    let (skipped, executed) = states.split_at(1);
    assert_eq!((skipped, executed), (&[FireState::Skipped][..], &[FireState::Executed; 5][..]));
    let reason = fires[0].reason.as_deref().unwrap();
    assert!(reason.ends_with("were missed; the last 5 are caught up"), "{reason}");
    for two in fires[1..].windows(2) {
        assert_eq!((two[1].scheduled_time - two[0].scheduled_time).num_minutes(), 60);
    }
    assert_eq!(runs(&database).await, 5);
}

#[tokio::test]
async fn a_paused_schedule_rests_and_what_came_meanwhile_is_not_made_up_for() {
    let database = database().await;
    let engine = ready(&database).await;
    let schedule = WorkflowSchedule::new("hourly", "0 0 * * * *", "one").catch_up(10);
    engine.put_schedule(&schedule).await.unwrap();
    engine.pause_schedule("hourly", Some("stocktaking")).await.unwrap();
    make_due(&database, "hourly", "date_trunc('hour', now()) - interval '3 hours'").await;
    let shown = engine.schedule("hourly").await.unwrap();
    assert_eq!((shown.paused, shown.paused_reason.as_deref()), (true, Some("stocktaking")));
    // Another that is due at the same time fires, and this one has not.
    engine.put_schedule(&WorkflowSchedule::new("other", RARE, "one")).await.unwrap();
    make_due(&database, "other", "now() - interval '1 second'").await;
    until_fires(&database, "other", 1).await;
    assert!(fires(&engine, "hourly").await.is_empty());
    engine.resume_schedule("hourly").await.unwrap();
    let shown = engine.schedule("hourly").await.unwrap();
    let next = engine.next_fires("0 0 * * * *", "UTC", 1).await.unwrap();
    assert_eq!(shown.next_run_time, Some(next[0].timestamp_millis()));
    assert_eq!((shown.paused, shown.paused_reason), (false, None));
    assert_eq!(runs(&database).await, 1);
}

#[tokio::test]
async fn a_fire_is_passed_over_while_the_last_run_goes_on_where_the_policy_says_so() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = engine(&database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let schedule = WorkflowSchedule::new("alone", RARE, "one").overlap(OverlapPolicy::Skip);
    engine.put_schedule(&schedule).await.unwrap();
    engine.put_schedule(&WorkflowSchedule::new("beside", RARE, "one")).await.unwrap();
    for round in 1..=2 {
        for name in ["alone", "beside"] {
            make_due(&database, name, "now() - interval '1 second'").await;
            until_fires(&database, name, round).await;
        }
    }
    gate.open(100);
    let states = |fires: Vec<ScheduleFire>| fires.into_iter().map(|f| f.state).collect::<Vec<_>>();
    let alone = fires(&engine, "alone").await;
    assert_eq!(alone[1].reason.as_deref(), Some("the run of the last fire goes on"));
    wait(&engine, alone[0].workflow_id.unwrap()).await;
    assert_eq!(states(alone), [FireState::Executed, FireState::Skipped]);
    assert_eq!(states(fires(&engine, "beside").await), [FireState::Executed; 2]);
    make_due(&database, "alone", "now() - interval '1 second'").await;
    until_fires(&database, "alone", 3).await;
    assert_eq!(fires(&engine, "alone").await[2].state, FireState::Executed);
}

#[tokio::test]
async fn a_fire_that_cannot_start_is_recorded_and_holds_up_no_other() {
    let database = database().await;
    let engine = ready(&database).await;
    let big = "x".repeat(6 * 1024 * 1024);
    let schedules = [
        WorkflowSchedule::new("a gone", RARE, "nowhere"),
        WorkflowSchedule::new("b big", RARE, "one").input("big", big),
        WorkflowSchedule::new("c unreadable", RARE, "one"),
        WorkflowSchedule::new("d fine", RARE, "one"),
    ];
    for schedule in &schedules {
        engine.put_schedule(schedule).await.unwrap();
    }
    let client = database.connect().await.unwrap();
    let harm = "UPDATE oms_engine.schedules SET definition = '{\"overlapPolicy\": \"NEW\"}'
                WHERE name = 'c unreadable'";
    client.execute(harm, &[]).await.unwrap();
    let due = "UPDATE oms_engine.schedules SET next_fire_at = now() - interval '1 second'";
    client.execute(due, &[]).await.unwrap();
    for name in ["a gone", "b big", "d fine"] {
        until_fires(&database, name, 1).await;
    }
    let gone = fires(&engine, "a gone").await.remove(0);
    assert_eq!((gone.state, gone.workflow_id), (FireState::Failed, None));
    let reason = "workflow definition \"nowhere\" (any version) is not registered";
    assert_eq!(gone.reason.as_deref(), Some(reason));
    let big = fires(&engine, "b big").await.remove(0);
    assert!(big.reason.unwrap().starts_with("input of workflow \"one\""), "{:?}", big.state);
    assert_eq!(fires(&engine, "d fine").await[0].state, FireState::Executed);
    assert_eq!(runs(&database).await, 1);
    // One that this engine cannot read stays due for one that can.
    let kept = "SELECT next_fire_at < now() FROM oms_engine.schedules WHERE name = 'c unreadable'";
    assert!(client.query_one(kept, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn a_fire_that_is_due_stays_due_unless_its_times_change() {
    let database = database().await;
    // No engine fires here before it is asked to.
    let idle = told(&database).build().await.unwrap();
    let schedule = WorkflowSchedule::new("moved", "0 0 12 * * *", "one");
    idle.put_schedule(&schedule).await.unwrap();
    let due = "date_trunc('hour', now()) + interval '1 hour'";
    make_due(&database, "moved", due).await;
    let before = idle.schedule("moved").await.unwrap().next_run_time;
    let kept = idle.put_schedule(&schedule.clone().input("value", 2)).await.unwrap();
    assert_eq!(kept.next_run_time, before);
    assert_eq!(kept.start_workflow_request.input["value"], 2);
    let moved = idle.put_schedule(&schedule.zone("Asia/Kolkata")).await.unwrap();
    let next = idle.next_fires("0 0 12 * * *", "Asia/Kolkata", 1).await.unwrap();
    assert_eq!(moved.next_run_time, Some(next[0].timestamp_millis()));
}

#[tokio::test]
async fn a_schedule_that_is_over_fires_no_more() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let sql = "SELECT (extract(epoch FROM date_trunc('hour', now()) - interval '2 hours') * 1000)::bigint";
    let end: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    let schedule = WorkflowSchedule {
        schedule_end_time: Some(end),
        ..WorkflowSchedule::new("over", "0 0 * * * *", "one").catch_up(10)
    };
    let put = engine.put_schedule(&schedule).await.unwrap();
    assert_eq!(put.next_run_time, None);
    make_due(&database, "over", "date_trunc('hour', now()) - interval '4 hours'").await;
    until_fires(&database, "over", 3).await;
    assert_eq!(engine.schedule("over").await.unwrap().next_run_time, None);
    assert_eq!(fires(&engine, "over").await.len(), 3);
}

#[tokio::test]
async fn the_last_hundred_fires_are_kept() {
    let database = database().await;
    let engine = ready(&database).await;
    let schedule = WorkflowSchedule::new("many", "0 * * * * *", "one").catch_up(130);
    engine.put_schedule(&schedule).await.unwrap();
    make_due(&database, "many", "date_trunc('minute', now()) - interval '120 minutes'").await;
    let client = database.connect().await.unwrap();
    until(&client, "SELECT next_fire_at > now() FROM oms_engine.schedules").await;
    assert_eq!(fires(&engine, "many").await.len(), 100);
    assert!(runs(&database).await >= 121);
    assert!(engine.remove_schedule("many").await.unwrap());
    assert!(!engine.remove_schedule("many").await.unwrap());
    assert!(fires(&engine, "many").await.is_empty());
}

#[tokio::test]
async fn schedules_are_listed_and_what_does_not_exist_is_said() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    for (name, workflow) in [("b", "one"), ("a", "one"), ("c", "two")] {
        engine.put_schedule(&WorkflowSchedule::new(name, RARE, workflow)).await.unwrap();
    }
    let names = |list: Vec<WorkflowSchedule>| list.into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names(engine.schedules(None).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(engine.schedules(Some("one")).await.unwrap()), ["a", "b"]);
    for missing in [
        engine.schedule("x").await.map(drop),
        engine.pause_schedule("x", None).await,
        engine.resume_schedule("x").await,
    ] {
        let error = missing.unwrap_err();
        assert!(matches!(error, Error::ScheduleNotFound { .. }), "{error}");
    }
    let refused = engine.put_schedule(&WorkflowSchedule::new("d", "* * *", "one")).await;
    assert!(matches!(refused, Err(Error::InvalidDefinition { .. })), "{refused:?}");
    let refused = engine.next_fires(RARE, "Mars/Olympus", 1).await.unwrap_err().to_string();
    assert!(refused.contains("$.zoneId"), "{refused}");
}

#[tokio::test]
async fn a_definition_of_the_schedule_s_own_is_started() {
    let database = database().await;
    let engine = ready(&database).await;
    let mut schedule = WorkflowSchedule::new("own", RARE, "");
    schedule.start_workflow_request.workflow_def =
        Some(serde_json::to_value(line("inline", &["work", "work"])).unwrap());
    engine.put_schedule(&schedule).await.unwrap();
    make_due(&database, "own", "now() - interval '1 second'").await;
    until_fires(&database, "own", 1).await;
    let fire = fires(&engine, "own").await.remove(0);
    let run = wait(&engine, fire.workflow_id.unwrap()).await;
    assert_eq!((run.workflow_name.as_str(), run.tasks.len()), ("inline", 2));
    assert_eq!(run.input["_startedByScheduler"], Value::from("own"));
}

#[tokio::test]
async fn the_domains_of_a_schedule_are_those_of_its_runs() {
    let database = database().await;
    let engine = ready(&database).await;
    let mut schedule = WorkflowSchedule::new("far", RARE, "one");
    let domains = [("work".to_owned(), "mars".to_owned())];
    schedule.start_workflow_request.task_to_domain = domains.clone().into();
    engine.put_schedule(&schedule).await.unwrap();
    make_due(&database, "far", "now() - interval '1 second'").await;
    until_fires(&database, "far", 1).await;
    let fire = fires(&engine, "far").await.remove(0);
    let run = engine.get(fire.workflow_id.unwrap()).await.unwrap();
    assert_eq!(run.task_to_domain, domains.into());
    let [task] = run.tasks.as_slice() else { panic!("{run:?}") };
    assert_eq!((task.domain.as_deref(), task.status), (Some("mars"), TaskStatus::Scheduled));
}

#[tokio::test]
async fn a_hundred_schedules_that_are_due_at_once_fire_once_each_on_two_engines() {
    let database = database().await;
    let engines = [ready(&database).await, ready(&database).await];
    for n in 0..100 {
        let schedule = WorkflowSchedule::new(format!("s{n:03}"), RARE, "one");
        engines[n % 2].put_schedule(&schedule).await.unwrap();
    }
    let client = database.connect().await.unwrap();
    let due = "UPDATE oms_engine.schedules SET next_fire_at = now()";
    client.execute(due, &[]).await.unwrap();
    until(&client, "SELECT count(*) = 100 FROM oms_engine.workflows WHERE status = 2").await;
    let once = "SELECT count(*) = 100 AND count(DISTINCT schedule) = 100
                FROM oms_engine.schedule_fires";
    until(&client, once).await;
    tokio::time::timeout(Duration::from_secs(5), engines[0].schedules(None))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(runs(&database).await, 100);
}
