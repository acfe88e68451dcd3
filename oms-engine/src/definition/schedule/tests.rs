use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn fires(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let fires = next_fires(expression, zone, time(after), count).unwrap();
    fires.iter().map(|at| at.format("%m-%d %H:%M:%S").to_string()).collect()
}

#[test]
fn expressions_are_spring_s() {
    // From a Thursday.
    let table: [(&str, [&str; 2]); 16] = [
        ("0/15 * * * * *", ["01-01 00:00:15", "01-01 00:00:30"]),
        ("0 5/10 * * * *", ["01-01 00:05:00", "01-01 00:15:00"]),
        ("0 0 9 * * MON-FRI", ["01-01 09:00:00", "01-02 09:00:00"]),
        ("0 0 9 ? * sat", ["01-03 09:00:00", "01-10 09:00:00"]),
        ("0 0 9 * * ?", ["01-01 09:00:00", "01-02 09:00:00"]),
        ("0 0 0 * * 0", ["01-04 00:00:00", "01-11 00:00:00"]),
        ("0 0 0 * * 7", ["01-04 00:00:00", "01-11 00:00:00"]),
        ("0 0 0 L * *", ["01-31 00:00:00", "02-28 00:00:00"]),
        ("0 0 0 LW * *", ["01-30 00:00:00", "02-27 00:00:00"]),
        ("0 0 0 15W * *", ["01-15 00:00:00", "02-16 00:00:00"]),
        ("0 0 0 * * 5L", ["01-30 00:00:00", "02-27 00:00:00"]),
        ("0 0 0 ? * FRI#2", ["01-09 00:00:00", "02-13 00:00:00"]),
        ("@daily", ["01-02 00:00:00", "01-03 00:00:00"]),
        ("@midnight", ["01-02 00:00:00", "01-03 00:00:00"]),
        ("@hourly", ["01-01 01:00:00", "01-01 02:00:00"]),
        // Both days hold, not either.
        ("0 0 0 13 * FRI", ["02-13 00:00:00", "03-13 00:00:00"]),
    ];
    for (expression, wanted) in table {
        assert_eq!(fires(expression, "UTC", "2026-01-01T00:00:00Z", 2), wanted, "{expression}");
    }
}

#[test]
fn a_daily_fire_is_neither_lost_in_a_gap_nor_doubled_where_an_hour_comes_twice() {
    let new_york = "America/New_York";
    // 02:30 does not exist on the 8th of March: it fires when the gap ends, at 03:00.
    assert_eq!(
        fires("0 30 2 * * *", new_york, "2026-03-07T12:00:00Z", 2),
        ["03-08 07:00:00", "03-09 06:30:00"]
    );
    // 01:30 comes twice on the 1st of November: it fires the first time.
    assert_eq!(
        fires("0 30 1 * * *", new_york, "2026-10-31T12:00:00Z", 2),
        ["11-01 05:30:00", "11-02 06:30:00"]
    );
}

#[test]
fn an_interval_follows_the_clock_through_a_gap_and_an_hour_that_comes_twice() {
    let berlin = "Europe/Berlin";
    // 02:00 to 03:00 is left out on the 29th of March.
    assert_eq!(
        fires("0 */30 * * * *", berlin, "2026-03-29T00:10:00Z", 3),
        ["03-29 00:30:00", "03-29 01:00:00", "03-29 01:30:00"]
    );
    // It comes twice on the 25th of October.
    assert_eq!(
        fires("0 */30 2 * * *", berlin, "2026-10-24T12:00:00Z", 5),
        ["10-25 00:00:00", "10-25 00:30:00", "10-25 01:00:00", "10-25 01:30:00", "10-26 01:00:00"]
    );
}

#[test]
fn a_zone_is_a_place_an_offset_or_utc() {
    let noon = |zone| fires("0 0 12 * * *", zone, "2026-07-01T00:00:00Z", 1);
    for (zone, wanted) in [
        ("", "07-01 12:00:00"),
        ("UTC", "07-01 12:00:00"),
        ("Europe/Berlin", "07-01 10:00:00"),
        ("Asia/Kolkata", "07-01 06:30:00"),
        ("+02:00", "07-01 10:00:00"),
        ("GMT-3", "07-01 15:00:00"),
    ] {
        assert_eq!(noon(zone), [wanted], "{zone}");
    }
}

#[test]
fn a_schedule_fires_from_its_start_to_its_end_both_included() {
    let ms = |text: &str| Some(time(text).timestamp_millis());
    let schedule = WorkflowSchedule {
        schedule_start_time: ms("2026-01-05T09:00:00Z"),
        schedule_end_time: ms("2026-01-06T09:00:00Z"),
        ..WorkflowSchedule::new("s", "0 0 9 * * *", "w")
    };
    let crons = Crons::compile(&schedule).unwrap();
    let first = crons.behind(time("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(first.at, time("2026-01-05T09:00:00Z"));
    let second = crons.following(first).unwrap();
    assert_eq!(second.at, time("2026-01-06T09:00:00Z"));
    assert_eq!(crons.following(second), None);
    assert_eq!(crons.behind(time("2026-01-07T00:00:00Z")), None);
}

fn many(expressions: &[&str]) -> Crons {
    let each = expressions.iter().map(|expression| CronSchedule {
        cron_expression: (*expression).to_owned(),
        ..CronSchedule::default()
    });
    let schedule = WorkflowSchedule {
        cron_schedules: each.collect(),
        ..WorkflowSchedule::new("s", "* * * * * *", "w")
    };
    Crons::compile(&schedule).unwrap()
}

#[test]
fn each_of_several_expressions_fires_also_where_they_meet() {
    let crons = many(&["0 0 * * * *", "0 0/30 * * * *"]);
    let first = crons.behind(time("2026-01-01T00:10:00Z"));
    let fires = std::iter::successors(first, |due| crons.following(*due)).take(4);
    let got: Vec<_> = fires.map(|due| (due.at.format("%H:%M").to_string(), due.cron)).collect();
    let wanted = [("00:30", 1), ("01:00", 0), ("01:00", 1), ("01:30", 1)];
    assert_eq!(got, wanted.map(|(at, cron)| (at.to_owned(), cron)));
    assert_eq!(crons.text(first.unwrap()), "0 0/30 * * * * UTC");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn fires_come_in_order_and_a_backlog_keeps_the_last(
        seconds in 0_i64..4_000_000_000, step in 1_u32..30, other in 1_u32..40,
        count in 1_usize..30, behind in 0_i64..6_000,
    ) {
        let crons = many(&[
            &format!("0 0/{step} * * * *"), &format!("30 0/{other} * * * *"), "0 0 * * * *",
        ]);
        let begun = DateTime::from_timestamp(seconds, 0).unwrap();
        let due = crons.behind(begun).unwrap();
        prop_assert!(due.at > begun);
        let now = due.at + TimeDelta::seconds(behind);
        let fires = std::iter::successors(Some(due), |due| crons.following(*due));
        let missed: Vec<Due> = fires.take_while(|fire| fire.at <= now).collect();
        prop_assert!(missed.windows(2).all(|two| two[0] < two[1]));
        let wanted = missed[missed.len().saturating_sub(count)];
        prop_assert_eq!(crons.caught_up(due, count, now), wanted);
        // To begin behind a fire is to follow the last of its time.
        let last = missed[missed.len() - 1];
        prop_assert_eq!(crons.behind(now), crons.following(last));
    }

    #[test]
    fn any_text_is_read_or_refused(expression in "[-0-9*/,LW#?@A-Za-z+ ]{0,24}", zone in ".{0,12}") {
        let after = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        if let Ok(fires) = next_fires(&expression, &zone, after, 3) {
            prop_assert!(fires.windows(2).all(|two| two[0] < two[1]));
        }
    }
}

#[test]
fn what_is_wrong_with_a_schedule_is_said_at_once_each_with_its_path() {
    let schedule = json!({
        "name": "",
        "cronSchedules": [
            {"cronExpression": "* * * * *"},
            {"cronExpression": "0 0 0 31 2 *"},
            {"cronExpression": "0 0 0 * * *", "zoneId": "Europe/Nowhere"},
            {"cronExpression": ""},
            {"cronExpression": "0 0 0 +1 * *"},
        ],
        "catchupLimit": 0,
        "scheduleStartTime": 2_000,
        "scheduleEndTime": 1_000,
        "startWorkflowRequest": {
            "name": " ", "version": 0, "priority": 100, "correlationId": "",
            "idempotencyKey": "k", "taskToDomain": {"a": "b:c"},
        },
    });
    let schedule = WorkflowSchedule::from_json(&schedule.to_string()).unwrap();
    let faults = validate_schedule(&schedule).unwrap_err();
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "$.name",
            "$.catchupLimit",
            "$.scheduleEndTime",
            "$.startWorkflowRequest.name",
            "$.startWorkflowRequest.version",
            "$.startWorkflowRequest.priority",
            "$.startWorkflowRequest.correlationId",
            "$.startWorkflowRequest.taskToDomain.a",
            "$.startWorkflowRequest.idempotencyKey",
            "$.cronSchedules[0].cronExpression",
            "$.cronSchedules[1].cronExpression",
            "$.cronSchedules[2].zoneId",
            "$.cronSchedules[3].cronExpression",
            "$.cronSchedules[4].cronExpression",
        ]
    );
    let never = faults.iter().nth(10).unwrap();
    assert_eq!(never.message, "\"0 0 0 31 2 *\" never fires: no date is like that");
}

#[test]
fn an_overlap_policy_that_is_not_known_is_refused_with_its_path() {
    let text = r#"{"name": "s", "overlapPolicy": "BUFFER_ONE"}"#;
    let refused = WorkflowSchedule::from_json(text).unwrap_err().to_string();
    assert!(refused.contains("$.overlapPolicy") && refused.contains("BUFFER_ONE"), "{refused}");
}

#[test]
fn what_conductor_writes_is_read_and_given_back() {
    let text = json!({
        "name": "s", "cronExpression": "0 0 9 * * *", "runCatchupScheduleInstances": null,
        "zoneId": "UTC", "cronSchedules": null, "paused": false, "updatedTime": 1, "ours": 2,
        "startWorkflowRequest": {"name": "w", "version": 2, "input": {"a": null}, "taskToDomain": {}},
    });
    let read = WorkflowSchedule::from_json(&text.to_string()).unwrap();
    assert_eq!(validate_schedule(&read), Ok(()));
    assert_eq!(read.extra["ours"], 2);
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(again["startWorkflowRequest"]["input"], json!({"a": null}));
    assert_eq!(serde_json::from_value::<WorkflowSchedule>(again).unwrap(), read);
}
