//! Ordinary steps have a statement of their own: it must do what the one for all steps does.

use crate::common::database;
use oms_engine::testkit::{planner, statements};
use oms_engine::tokio_postgres::{Client, Transaction};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const HOLDER: i64 = 1;

/// What stands in the way of a step, if anything.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fence {
    Open,
    Paused,
    Stale,
    Anothers,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Follows {
    Nothing,
    End,
    Ready,
    Leased,
}

/// A step, and how its token stands in the table.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "all of their combinations are tried")]
struct Step {
    /// Of no task: it says where a chain goes on.
    decides: bool,
    held: bool,
    fence: Fence,
    follows: Follows,
    /// Whether the token has its own input, type and container, and an end of all its attempts.
    rich: bool,
    /// Whether what follows has time-outs.
    timed: bool,
}

fn all_steps() -> Vec<Step> {
    let both = [false, true];
    let mut steps = Vec::new();
    for decides in both {
        for held in both {
            for fence in [Fence::Open, Fence::Paused, Fence::Stale, Fence::Anothers] {
                for follows in [Follows::Nothing, Follows::End, Follows::Ready, Follows::Leased] {
                    for rich in both {
                        for timed in both {
                            steps.push(Step { decides, held, fence, follows, rich, timed });
                        }
                    }
                }
            }
        }
    }
    steps
}

impl Step {
    fn follows_with<T>(&self, value: T) -> Option<T> {
        matches!(self.follows, Follows::Ready | Follows::Leased).then_some(value)
    }

    /// That of the token's own task: what is opened then is that task again.
    fn next(&self) -> Option<&'static str> {
        self.follows_with(if self.decides { "first" } else { "second" })
    }

    fn state(&self) -> Option<i16> {
        self.follows_with(i16::from(self.follows == Follows::Leased))
    }

    fn time(&self, ms: i64) -> Option<i64> {
        self.follows_with(ms).filter(|_| self.timed)
    }
}

/// Runs that are under way, each with one token. Out: the tokens.
async fn seed(tx: &Transaction<'_>, steps: &[Step]) -> Vec<i64> {
    tx.batch_execute(
        "INSERT INTO oms_engine.workflow_definitions (name, version, definition, task_definitions)
         VALUES ('d', 1, '{}', '{}')",
    )
    .await
    .unwrap();
    let ids: Vec<Uuid> = (0..steps.len()).map(|n| Uuid::from_u128(n as u128)).collect();
    tx.execute(
        "INSERT INTO oms_engine.workflows (id, definition_id, name, version, input)
         SELECT w.id, d.id, 'd', 1, '{}'
         FROM unnest($1::uuid[]) AS w(id), oms_engine.workflow_definitions d",
        &[&ids],
    )
    .await
    .unwrap();
    let input = column(steps, |step| match (step.decides, step.rich) {
        (true, _) => Some(json!({"after": "first"})),
        (false, rich) => rich.then(|| json!({"own": true})),
    });
    let rows = tx
        .query(
            "INSERT INTO oms_engine.open_tasks (workflow_id, reference_name, queue, state,
                holder, paused, rev, input, task_type, scope, priority, expires_at, epoch)
             SELECT id, ref, 'q', held::int, CASE WHEN held THEN $4::bigint END, paused, 3, input,
                CASE WHEN rich THEN 'type' END, CASE WHEN rich THEN 77 END, 2,
                CASE WHEN rich THEN timestamptz '2100-01-01' END, 1
             FROM unnest($1::uuid[], $2::text[], $3::bool[], $5::bool[], $6::jsonb[], $7::bool[])
                AS s(id, ref, held, paused, input, rich)
             RETURNING id, workflow_id",
            &[
                &ids,
                &column(steps, |step| if step.decides { "" } else { "first" }),
                &column(steps, |step| step.held),
                &HOLDER,
                &column(steps, |step| step.fence == Fence::Paused),
                &input,
                &column(steps, |step| step.rich),
            ],
        )
        .await
        .unwrap();
    let mut tokens: Vec<(Uuid, i64)> = rows.iter().map(|row| (row.get(1), row.get(0))).collect();
    tokens.sort_unstable();
    tokens.into_iter().map(|(_, token)| token).collect()
}

fn column<T>(steps: &[Step], of: impl Fn(&Step) -> T) -> Vec<T> {
    steps.iter().map(of).collect()
}

/// What a batch of steps is to a statement, as lists.
struct Lists {
    tokens: Vec<i64>,
    rev: Vec<i32>,
    holder: Vec<i64>,
    input: Vec<Option<Value>>,
    output: Vec<Option<Value>>,
    worker: Vec<Option<&'static str>>,
    run_output: Vec<Option<Value>>,
}

impl Lists {
    fn of(steps: &[Step], tokens: Vec<i64>) -> Self {
        let own = |s: &Step| if s.held { HOLDER } else { 0 };
        Self {
            tokens,
            rev: column(steps, |s| if s.fence == Fence::Stale { 2 } else { 3 }),
            holder: column(steps, |s| if s.fence == Fence::Anothers { 9 } else { own(s) }),
            input: column(steps, |s| (!s.rich && !s.decides).then(|| json!({"got": true}))),
            output: column(steps, |s| (!s.decides).then(|| json!({"made": true}))),
            worker: column(steps, |s| (!s.decides).then_some("w")),
            run_output: column(steps, |s| (s.follows == Follows::End).then(|| json!({"end": 1}))),
        }
    }
}

fn sql_of(name: &str) -> String {
    let all = statements("oms_engine").unwrap();
    all.into_iter().find(|(known, _)| *known == name).unwrap().1
}

async fn by_own(
    tx: &Transaction<'_>,
    steps: &[Step],
    lists: &Lists,
) -> Result<Row, tokio_postgres::Error> {
    let Lists { tokens, rev, holder, input, output, worker, run_output } = lists;
    let params: [&(dyn ToSql + Sync); 14] = [
        tokens,
        rev,
        holder,
        input,
        output,
        worker,
        run_output,
        &column(steps, Step::next),
        &column(steps, |s| s.follows_with("q2")),
        &column(steps, Step::state),
        &column(steps, |s| s.time(5_000)),
        &column(steps, |s| s.time(3_000)),
        &column(steps, |s| s.time(4_000)),
        &HOLDER,
    ];
    tx.query_one(&sql_of("advance_steps"), &params).await
}

async fn by_all(
    tx: &Transaction<'_>,
    steps: &[Step],
    lists: &Lists,
) -> Result<Row, tokio_postgres::Error> {
    let Lists { tokens, rev, holder, input, output, worker, run_output } = lists;
    let n = steps.len();
    let (no_text, no_json) = (vec![None::<String>; n], vec![None::<Value>; n]);
    let (status, arrives) = (vec![0_i16; n], vec![false; n]);
    let ends = column(steps, |s| (s.follows == Follows::End).then_some(2_i16));
    let follow = steps.iter().zip(tokens).filter(|(s, _)| s.next().is_some());
    let (next, source): (Vec<Step>, Vec<i64>) = follow.map(|(s, token)| (*s, *token)).unzip();
    let m = next.len();
    let (number, text, json) =
        (vec![None::<i64>; m], vec![None::<String>; m], vec![None::<Value>; m]);
    let (small, int, zero) = (vec![None::<i16>; m], vec![None::<i32>; m], vec![0_i16; m]);
    let time = vec![None::<chrono::DateTime<chrono::Utc>>; m];
    let (queue, reference, state) =
        (vec!["q2"; m], column(&next, Step::next), column(&next, Step::state));
    let timeout = column(&next, |s| s.time(5_000));
    let poll_timeout = column(&next, |s| s.time(3_000));
    let total = column(&next, |s| s.time(4_000));
    let (queues, free) = (Vec::<String>::new(), Vec::<i32>::new());
    let (priorities, floors) = (Vec::<i16>::new(), Vec::<i64>::new());
    #[rustfmt::skip]
    let params: [&(dyn ToSql + Sync); 39] = [
        tokens, rev, holder, &status, input, output, worker, &no_text, &ends, run_output,
        &no_text, &no_text, &arrives, &no_json, &no_json,
        &source, &reference, &zero, &queue, &text, &state, &small, &number, &time, &timeout,
        &poll_timeout, &total, &zero, &text, &json, &json, &json, &int, &number,
        &HOLDER, &queues, &free, &priorities, &floors,
    ];
    tx.query_one(&sql_of("advance"), &params).await
}

/// All that the tables say, but for what comes from sequences and clocks: these by their order and by
/// their distance from the statement's own time.
async fn picture(tx: &Transaction<'_>) -> Vec<Value> {
    let sql = "
        SELECT to_jsonb(t) - '{id,seq,scheduled_at,started_at,due_at,expires_at}'::text[]
            || jsonb_build_object('started', started_at - scheduled_at, 'due',
                CASE WHEN due_at = '2100-01-01' THEN 'kept' ELSE (due_at - scheduled_at)::text END, 'expires',
                CASE WHEN expires_at = '2100-01-01' THEN 'kept' ELSE (expires_at - scheduled_at)::text END)
        FROM oms_engine.open_tasks t
        UNION ALL
        SELECT to_jsonb(h) - '{seq,scheduled_at,started_at,ended_at}'::text[]
            || jsonb_build_object('ended', ended_at IS NOT NULL, 'scheduled', scheduled_at IS NOT NULL)
        FROM oms_engine.task_history h
        UNION ALL
        SELECT to_jsonb(w) - '{created_at,ended_at,definition_id}'::text[]
            || jsonb_build_object('ended', ended_at IS NOT NULL)
        FROM oms_engine.workflows w";
    let rows = tx.query(sql, &[]).await.unwrap();
    let mut rows: Vec<Value> = rows.iter().map(|row| row.get(0)).collect();
    rows.sort_by_key(Value::to_string);
    rows
}

/// Out: which steps counted, and what the tables say then.
async fn outcome(client: &mut Client, steps: &[Step], own: bool) -> (Vec<usize>, Vec<Value>) {
    let tx = client.transaction().await.unwrap();
    let tokens = seed(&tx, steps).await;
    let lists = Lists::of(steps, tokens.clone());
    let ended: Option<Vec<i64>> = if own {
        by_own(&tx, steps, &lists).await.unwrap().get(0)
    } else {
        by_all(&tx, steps, &lists).await.unwrap().get(19)
    };
    let place = |id| tokens.iter().position(|token| *token == id).unwrap();
    let mut places: Vec<usize> = ended.unwrap_or_default().into_iter().map(place).collect();
    places.sort_unstable();
    let picture = picture(&tx).await;
    tx.rollback().await.unwrap();
    (places, picture)
}

#[tokio::test]
async fn ordinary_steps_leave_the_same_rows_by_either_hot_statement() {
    let database = database().await;
    let mut client = database.connect().await.unwrap();
    client.batch_execute(&planner()).await.unwrap();
    let steps = all_steps();
    let by_all = outcome(&mut client, &steps, false).await;
    let by_own = outcome(&mut client, &steps, true).await;
    assert_eq!(by_own.0, by_all.0);
    let open = steps.iter().filter(|step| step.fence == Fence::Open).count();
    assert_eq!(by_own.0.len(), open);
    assert_eq!(by_own.1.len(), by_all.1.len());
    for (own, all) in by_own.1.iter().zip(&by_all.1) {
        assert_eq!(own, all);
    }
}

#[tokio::test]
async fn an_end_of_a_run_that_does_not_run_is_refused_by_either_hot_statement() {
    let database = database().await;
    let mut client = database.connect().await.unwrap();
    let mut ends = all_steps();
    ends.retain(|step| step.follows == Follows::End && step.fence == Fence::Open);
    for own in [true, false] {
        let tx = client.transaction().await.unwrap();
        let lists = Lists::of(&ends, seed(&tx, &ends).await);
        tx.batch_execute("UPDATE oms_engine.workflows SET status = 1").await.unwrap();
        let refused = match own {
            true => by_own(&tx, &ends, &lists).await,
            false => by_all(&tx, &ends, &lists).await,
        };
        let said = refused.unwrap_err().as_db_error().unwrap().message().to_owned();
        assert!(said.contains("end of a workflow that is not running"), "{said}");
        tx.rollback().await.unwrap();
    }
}
