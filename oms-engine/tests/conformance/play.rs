//! Plays a case against PostgreSQL: one worker task ends at a time, the lowest sequence number
//! first, and time passes when it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::{Client, NoTls, connect};
use oms_engine::{Engine, Execution, WorkflowId};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::common::assert_nothing_stuck;
use crate::compare::{Seen, SeenTask, differences};
use crate::stage::{self, Stage};
use crate::stand_in::StandIn;

/// How long anything may take that needs no time of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ends and moments in one case.
const MOVES_MAX: usize = 500;

/// Whether the limits of the task `t` leave no room for it.
const USED_UP: &str = "EXISTS (
    SELECT FROM oms_engine.task_limits l
    WHERE l.name = regexp_replace(t.queue, '^[^:]*:', '') AND (
        l.concurrent <= (SELECT count(*) FROM oms_engine.open_tasks o
            WHERE o.state = 1 AND regexp_replace(o.queue, '^[^:]*:', '') = l.name)
        OR l.rate <= (SELECT coalesce(sum(s.handed_out), 0) FROM oms_engine.rate_steps s
            WHERE s.name = l.name
                AND s.step_end > statement_timestamp() - l.rate_ms * interval '1 millisecond')))";

/// A worker task that is leased: its id and the run it is of.
pub(crate) struct Leased {
    pub(crate) task_id: String,
    pub(crate) reference_name: String,
    attempt: i16,
}

pub(crate) struct Player {
    pub(crate) case: Case,
    pub(crate) engine: Engine,
    client: Client,
    stage: Arc<Stage>,
    id: WorkflowId,
}

/// Plays a case; what differs is the error.
pub(crate) async fn play(url: String, case: Case) -> Result<(), String> {
    let server = StandIn::new().await;
    for (path, acts) in &case.http {
        server.on(path, acts.clone());
    }
    let case = case.calling(&server.url(""));
    let (client, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let stage = Arc::new(Stage::default());
    let engine = stage::engine(&url, &case, &stage, server.port).await;
    let started = crate::outside::begin(&engine, &case).await;
    let id = match (started, &case.refused) {
        (Err(error), Some(part)) if error.to_string().contains(part) => return Ok(()),
        (Err(error), _) => return Err(format!("refused: {error}")),
        (Ok(_), Some(part)) => return Err(format!("is not refused with {part:?}")),
        (Ok(id), None) => id,
    };
    let player = Player { case, engine, client, stage, id };
    let played = player.run().await;
    player.engine.shutdown(Duration::ZERO).await;
    played
}

impl Player {
    async fn run(&self) -> Result<(), String> {
        let mut steps = self.case.steps.iter();
        let mut idle = 0;
        for _ in 0..MOVES_MAX {
            let leased = self.settled().await?;
            idle += 1;
            if let Some((task, outcome)) = self.next(&leased) {
                self.release(&task, outcome);
                idle = 0;
                continue;
            }
            if let Some(step) = steps.next() {
                self.step(step, &leased).await?;
                idle = 0;
                continue;
            }
            if self.pass_to_next().await {
                idle = 0;
            } else if idle > 1 {
                // Twice: a timer may have gone off between the look and the next.
                assert_nothing_stuck(&self.client).await;
                return self.compare().await;
            }
        }
        Err(format!("does not come to rest: {:#?}", self.engine.get(self.id).await))
    }

    /// Waits until nothing moves but the tasks that wait to be told. Out: these.
    async fn settled(&self) -> Result<Vec<Leased>, String> {
        // What is to be done about events is not quiet either.
        let sql = format!(
            "SELECT workflow_id, epoch, attempt, reference_name, queue, state, waits FROM (
                SELECT workflow_id::text, epoch, attempt, reference_name, queue, state,
                    state = 0 AND {USED_UP} AS waits, seq
                FROM oms_engine.open_tasks t WHERE state IN (0, 1)
                UNION ALL SELECT '', 0::int2, 0::int2, event, '$system', 0::int2, false, 0
                FROM oms_engine.events WHERE pending
                UNION ALL SELECT '', 0::int2, 0::int2, handler, '$system', 0::int2, false, 0
                FROM oms_engine.event_executions WHERE status = 0) x ORDER BY seq"
        );
        let begun = Instant::now();
        loop {
            let rows = self.client.query(&sql, &[]).await.unwrap();
            let mut leased = Vec::new();
            let quiet = rows.iter().all(|row| {
                let (queue, state): (String, i16) = (row.get(4), row.get(5));
                if state == 0 && (row.get(6) || !self.served(&queue)) {
                    return true;
                }
                let reference_name: String = row.get(3);
                let epoch: i16 = row.get(1);
                let attempt: i16 = row.get(2);
                let workflow: String = row.get(0);
                let task_id = format!("{workflow}.{epoch}.{attempt}.{reference_name}");
                let here = self.stage.waits(&task_id);
                leased.push(Leased { task_id, reference_name, attempt });
                queue != "$system" && state == 1 && here
            });
            if quiet {
                return Ok(leased);
            }
            if begun.elapsed() > PATIENCE {
                let rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
                return Err(format!("never quiet: {rows:?} {:#?}", self.engine.get(self.id).await));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether the case has a worker for it.
    fn served(&self, queue: &str) -> bool {
        let Some((domain, task)) = queue.split_once(':') else { return true };
        self.case.serves.get(task).is_some_and(|domains| domains.iter().any(|d| d == domain))
    }

    /// The first task that is to end, and how.
    fn next(&self, leased: &[Leased]) -> Option<(String, Value)> {
        leased.iter().find_map(|task| {
            let listed = self.case.workers.get(&task.reference_name);
            let number = usize::try_from(task.attempt).unwrap();
            let outcome = listed.and_then(|list| list.get(number));
            match outcome.cloned().unwrap_or_else(|| json!({})) {
                Value::String(hold) if hold == "HOLD" => None,
                outcome => Some((task.task_id.clone(), outcome)),
            }
        })
    }

    pub(crate) fn release(&self, task_id: &str, outcome: Value) {
        self.stage.tell(task_id, outcome);
    }

    async fn step(&self, step: &Map<String, Value>, leased: &[Leased]) -> Result<(), String> {
        let path = step.get("in").and_then(Value::as_str);
        let id = match path {
            Some(path) => self.child(path).await?,
            None => self.id,
        };
        let done = match self.tell(id, step).await {
            Some(done) => done,
            None => self.act(id, step, leased).await,
        };
        match (done, step.get("refused").and_then(Value::as_str)) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(part)) => Err(format!("{step:?} is not refused with {part:?}")),
            (Err(error), Some(part)) if error.to_string().contains(part) => Ok(()),
            (Err(error), _) => Err(format!("{step:?}: {error}")),
        }
    }

    /// Lets so many seconds pass: everything is due so much sooner.
    pub(crate) async fn pass(&self, seconds: f64) {
        let sql = "WITH t AS (
                UPDATE oms_engine.open_tasks
                SET due_at = due_at - $1::float8 * interval '1 second',
                    started_at = started_at - $1::float8 * interval '1 second',
                    expires_at = expires_at - $1::float8 * interval '1 second'
                WHERE due_at IS NOT NULL OR expires_at IS NOT NULL),
            -- A little more, so that no step falls on another before that has moved.
            s AS (UPDATE oms_engine.rate_steps
                SET step_end = step_end - ($1::float8 + 0.000001) * interval '1 second')
            UPDATE oms_engine.workflows SET deadline = deadline - $1::float8 * interval '1 second'
            WHERE deadline IS NOT NULL";
        self.client.execute(sql, &[&seconds]).await.unwrap();
        self.client.batch_execute("SELECT pg_notify('oms_engine.ready', '$timer')").await.unwrap();
        let due = "SELECT NOT EXISTS (SELECT FROM oms_engine.open_tasks
                WHERE due_at <= statement_timestamp())
            AND NOT EXISTS (SELECT FROM oms_engine.workflows
                WHERE status = 0 AND deadline <= statement_timestamp())";
        crate::common::until(&self.client, due).await;
    }

    /// Moves on to the next moment at which something is due. False: nothing is.
    async fn pass_to_next(&self) -> bool {
        let sql = "SELECT extract(epoch FROM min(at) - statement_timestamp())::float8 FROM (
            SELECT due_at AS at FROM oms_engine.open_tasks
            UNION ALL SELECT deadline FROM oms_engine.workflows WHERE status = 0
            UNION ALL SELECT min(s.step_end) + l.rate_ms * interval '1 millisecond'
                FROM oms_engine.rate_steps s JOIN oms_engine.task_limits l USING (name)
                WHERE s.step_end > statement_timestamp() - l.rate_ms * interval '1 millisecond'
                    AND EXISTS (SELECT FROM oms_engine.open_tasks
                        WHERE state = 0 AND queue = l.name)
                GROUP BY l.name, l.rate_ms) x";
        let row = self.client.query_one(sql, &[]).await.unwrap();
        let Some(seconds) = row.get::<_, Option<f64>>(0) else { return false };
        self.pass(seconds.max(0.0) + 0.06).await;
        true
    }

    /// The run that a `SUB_WORKFLOW` step started; `a/b` goes down two.
    async fn child(&self, path: &str) -> Result<WorkflowId, String> {
        self.below(self.id, path).await
    }

    pub(crate) async fn below(&self, mut id: WorkflowId, path: &str) -> Result<WorkflowId, String> {
        for name in path.split('/') {
            let sql = "SELECT w.id::text FROM oms_engine.workflows w
                LEFT JOIN oms_engine.open_tasks t ON t.id = w.parent_token
                LEFT JOIN oms_engine.task_history h
                    ON h.workflow_id = w.parent_id AND h.output->>'subWorkflowId' = w.id::text
                WHERE w.parent_id::text = $1
                    AND coalesce(t.reference_name, h.reference_name) = $2
                ORDER BY w.created_at DESC LIMIT 1";
            let rows = self.client.query(sql, &[&id.to_string(), &name]).await.unwrap();
            let row = rows.first().ok_or_else(|| format!("no child {name:?} of {id}"))?;
            id = row.get::<_, String>(0).parse().unwrap();
        }
        Ok(id)
    }

    async fn compare(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let run = self.engine.get(self.id).await.unwrap();
        let expect = self.case.expect.as_ref().unwrap();
        wrong.extend(differences(expect, &seen(&run)));
        let mut children = BTreeMap::new();
        for (path, expect) in &self.case.children {
            let found = match path.rsplit_once('/') {
                Some((above, name)) if children.contains_key(above) => {
                    self.below(children[above], name).await
                }
                _ => self.child(path).await,
            };
            match found {
                Ok(id) => {
                    let run = self.engine.get(id).await.unwrap();
                    let found = differences(expect, &seen(&run));
                    wrong.extend(found.into_iter().map(|line| format!("  in {path}:{line}")));
                    children.insert(path.as_str(), id);
                }
                Err(reason) => wrong.push(format!("  {reason}")),
            }
        }
        let sql = "SELECT id::text, name FROM oms_engine.workflows
            WHERE id::text <> $1 AND parent_id IS NULL ORDER BY created_at, id";
        let rows = self.client.query(sql, &[&self.id.to_string()]).await.unwrap();
        let names: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
        let expected: Vec<&str> = self.case.started.iter().map(|s| s.name.as_str()).collect();
        if names != expected {
            wrong.push(format!("  started: expected {expected:?}, found {names:?}"));
        } else {
            for (row, started) in rows.iter().zip(&self.case.started) {
                let id: WorkflowId = row.get::<_, String>(0).parse().unwrap();
                let run = self.engine.get(id).await.unwrap();
                let found = differences(&started.expect, &seen(&run));
                wrong.extend(found.into_iter().map(|line| format!("  {}:{line}", started.name)));
            }
        }
        wrong.extend(self.executions().await);
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n{}", wrong.join("\n"))) }
    }
}

fn seen(run: &Execution) -> Seen {
    let tasks = run.tasks.iter().map(|task| SeenTask {
        task_id: task.task_id.clone(),
        reference_name: task.reference_task_name.clone(),
        task_type: task.task_type.clone(),
        status: task.status.as_str().to_owned(),
        domain: task.domain.clone(),
        attempt: task.retry_count,
        input: task.input_data.clone(),
        output: task.output_data.clone(),
        reason: task.reason_for_incompletion.clone(),
    });
    let left = run.not_compensated.iter();
    let left = left.map(|left| (left.reference_task_name.clone(), left.reason.clone()));
    Seen {
        workflow_id: run.workflow_id.to_string(),
        status: run.status.as_str().to_owned(),
        output: run.output.clone(),
        variables: run.variables.clone(),
        reason: run.reason_for_incompletion.clone(),
        compensating: run.compensating.map(|status| status.as_str().to_owned()),
        left: left.collect(),
        tasks: tasks.collect(),
    }
}
