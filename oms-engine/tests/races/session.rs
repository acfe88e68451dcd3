//! A session beside the engine that runs the engine's own statements.

use oms_engine::WorkflowId;
use oms_engine::testkit::{TestDatabase, statements};
use oms_engine::tokio_postgres::Client;
use serde_json::Value;

use crate::common::until;

/// A second live session.
pub(crate) struct Session(pub(crate) Client);

/// A step to write: the token it ends, and what it opens.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) token: i64,
    pub(crate) holder: i64,
    pub(crate) opens: Option<(&'a str, &'a str)>,
    /// As what the run ends.
    pub(crate) ends: Option<i16>,
    /// Which of all that are opened the same stands in, from 1.
    pub(crate) container: Option<i64>,
}

pub(crate) fn statement(name: &str) -> String {
    let all = statements("oms_engine").unwrap();
    all.into_iter().find(|(known, _)| *known == name).unwrap().1
}

impl Session {
    pub(crate) async fn on(database: &TestDatabase) -> Self {
        Self(database.connect().await.unwrap())
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.0.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The only open task of a run: its token id, and its holder or 0.
    pub(crate) async fn token(&self, id: WorkflowId) -> (i64, i64) {
        let sql = format!(
            "SELECT id, coalesce(holder, 0) FROM oms_engine.open_tasks WHERE workflow_id = '{id}'"
        );
        let row = self.0.query_one(&sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// A run's history: reference, epoch, attempt and status of each row.
    pub(crate) async fn history(&self, id: WorkflowId) -> Vec<(String, i16, i16, i16)> {
        let sql = format!(
            "SELECT reference_name, epoch, attempt, status FROM oms_engine.task_history
             WHERE workflow_id = '{id}' ORDER BY seq"
        );
        let rows = self.0.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    }

    /// A holder of a new session that lives as long as this one.
    pub(crate) async fn holder(&self) -> i64 {
        let holder = self.silent_holder().await;
        let sql = format!(
            "WITH s AS (
                UPDATE oms_engine.sessions SET heartbeat_at = clock_timestamp() + interval '1 hour'
                WHERE id = (SELECT session_id FROM oms_engine.holders WHERE id = {holder})
                RETURNING id)
            SELECT id FROM s"
        );
        let session = self.number(&sql).await;
        let locked = self.0.query_one(&statement("lock_session"), &[&session]).await.unwrap();
        assert!(locked.get::<_, bool>(0));
        holder
    }

    /// A holder of a new session that is never heard of again.
    pub(crate) async fn silent_holder(&self) -> i64 {
        let sql = "WITH s AS (
                INSERT INTO oms_engine.sessions (name, engine_version) VALUES ('other', 1)
                RETURNING id)
            INSERT INTO oms_engine.holders (session_id) SELECT id FROM s RETURNING id";
        self.number(sql).await
    }

    /// Claims everything that is ready in a queue, with the hot statement.
    pub(crate) async fn claim(&self, queue: &str, holder: i64) -> Vec<i64> {
        self.advance(&[], holder, &[queue]).await.unwrap()
    }

    /// Claims so many from a queue that begins at this id of this priority.
    pub(crate) async fn claim_from(
        &self,
        queue: &str,
        holder: i64,
        most: i32,
        from: (i16, i64),
    ) -> Vec<i64> {
        self.write(&[], holder, (&[queue], &[most], &[from])).await.unwrap()
    }

    /// The hot statement. Out: the tokens that it ended or claimed.
    pub(crate) async fn advance(
        &self,
        steps: &[Step<'_>],
        holder: i64,
        claims: &[&str],
    ) -> Result<Vec<i64>, tokio_postgres::Error> {
        let (most, from) = (vec![100; claims.len()], vec![(i16::MIN, 0); claims.len()]);
        self.write(steps, holder, (claims, &most, &from)).await
    }

    async fn write(
        &self,
        steps: &[Step<'_>],
        holder: i64,
        (claims, most, from): (&[&str], &[i32], &[(i16, i64)]),
    ) -> Result<Vec<i64>, tokio_postgres::Error> {
        let n = steps.len();
        let opened: Vec<&Step<'_>> = steps.iter().filter(|step| step.opens.is_some()).collect();
        let m = opened.len();
        let names = |f: fn((&str, &str)) -> String| -> Vec<String> {
            opened.iter().filter_map(|step| step.opens.map(f)).collect()
        };
        let (json, text) = (vec![None::<Value>; n], vec![None::<String>; n]);
        let ms = vec![None::<i64>; m];
        let output: Vec<Option<Value>> =
            steps.iter().map(|step| step.ends.map(|_| Value::Object(Default::default()))).collect();
        let rows = self
            .0
            .query(
                &statement("advance"),
                &[
                    &steps.iter().map(|step| step.token).collect::<Vec<_>>(),
                    &vec![0_i32; n],
                    &steps.iter().map(|step| step.holder).collect::<Vec<_>>(),
                    &vec![0_i16; n],
                    &json,
                    &json,
                    &text,
                    &text,
                    &steps.iter().map(|step| step.ends).collect::<Vec<_>>(),
                    &output,
                    &text,
                    &text,
                    &vec![false; n],
                    &json,
                    &json,
                    &opened.iter().map(|step| step.token).collect::<Vec<_>>(),
                    &names(|open| open.0.to_owned()),
                    &vec![0_i16; m],
                    &names(|open| open.1.to_owned()),
                    &vec![None::<String>; m],
                    &vec![0_i16; m],
                    &vec![None::<i16>; m],
                    &ms,
                    &vec![None::<chrono::DateTime<chrono::Utc>>; m],
                    &ms,
                    &ms,
                    &ms,
                    &vec![0_i16; m],
                    &vec![None::<String>; m],
                    &vec![None::<Value>; m],
                    &vec![None::<Value>; m],
                    &vec![None::<Value>; m],
                    &vec![None::<i32>; m],
                    &opened.iter().map(|step| step.container).collect::<Vec<_>>(),
                    &holder,
                    &claims,
                    &most,
                    &from.iter().map(|from| from.0).collect::<Vec<_>>(),
                    &from.iter().map(|from| from.1).collect::<Vec<_>>(),
                ],
            )
            .await?;
        let tokens = rows.iter().flat_map(|row| {
            let ended: Option<Vec<i64>> = row.get("ended");
            ended.into_iter().flatten().chain(row.get::<_, Option<i64>>("id"))
        });
        Ok(tokens.collect())
    }

    /// Waits until somebody in this database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        until(
            &self.0,
            "SELECT EXISTS (SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock')",
        )
        .await;
    }
}
