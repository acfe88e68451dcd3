//! What a run on PostgreSQL comes to is what the decider alone says, whatever is killed.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::TestDatabase;
use crate::advance::tests::scripted::{Picture, alone, definitions, named, outcome};
use crate::decide::TaskStatus;
use crate::engine::{Engine, StartRequest};
use crate::ids::WorkflowId;
use crate::worker::{Task, TaskContext, TaskError};
use crate::{TaskDef, WorkflowDef};

const URL: &str = "OMS_TEST_SCRIPTED_URL";
const DEFINITIONS: usize = 60;
const KILLS_MAX: usize = 12;
/// Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(90);

struct Scripted;

impl Task for Scripted {
    const NAME: &'static str = "t";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        // So that kills meet it.
        tokio::time::sleep(Duration::from_millis(40)).await;
        let (status, output) = outcome(cx.reference_name(), cx.attempt());
        match status {
            TaskStatus::Completed => Ok(output),
            TaskStatus::Failed => Err(TaskError::retry("no").with_output(output)),
            _ => Err(TaskError::terminal("no").with_output(output)),
        }
    }
}

/// A process of its own: this test binary, started again in that role.
struct Process {
    child: Child,
    _said: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "testkit::tests::an_engine_of_its_own", "--nocapture"])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("@works") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended without a word");
        }
        Self { child, _said: said }
    }

    /// Ends it with SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_of_its_own() {
    let works = |url: OsString| async move {
        let builder = Engine::builder(url.to_str().unwrap())
            .name(&format!("s{}", std::process::id()))
            .concurrency(6)
            .heartbeat(Duration::from_millis(300), Duration::from_secs(3));
        builder.task(Scripted).build().await
    };
    let Some(url) = std::env::var_os(URL) else {
        assert!(works("not a url".into()).await.is_err());
        return;
    };
    let _engine = works(url).await.unwrap();
    println!("@works");
    std::io::stdout().flush().unwrap();
    let until_told = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(until_told).await.unwrap().unwrap();
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Kills whoever holds work, until all is done. Out: kills that met work in flight.
async fn storm(client: &Client, url: &str, processes: &mut [Process]) -> usize {
    let begun = Instant::now();
    let mut hits = 0;
    while number(client, "SELECT count(*) FROM oms_engine.workflows WHERE status < 2").await > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", what_is_open(client).await);
        tokio::time::sleep(Duration::from_millis(150 + (hits as u64 * 97) % 200)).await;
        let at = hits % processes.len();
        let held = format!(
            "SELECT count(*) FROM oms_engine.open_tasks t
             JOIN oms_engine.holders h ON h.id = t.holder
             JOIN oms_engine.sessions s ON s.id = h.session_id WHERE s.name = 's{}'",
            processes[at].child.id()
        );
        if hits < KILLS_MAX && number(client, &held).await > 0 {
            processes[at].kill();
            processes[at] = Process::start(url);
            hits += 1;
        }
    }
    hits
}

async fn what_is_open(client: &Client) -> Vec<String> {
    let sql = "SELECT w.name || ' ' || t::text FROM oms_engine.open_tasks t
        JOIN oms_engine.workflows w ON w.id = t.workflow_id LIMIT 20";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn seed() -> u64 {
    let drawn =
        std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    let given = std::env::var_os("OMS_TEST_SEED").and_then(|s| s.to_str()?.parse().ok());
    let seed = given.unwrap_or(drawn);
    println!("OMS_TEST_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_that_are_killed_at_random_come_to_what_the_decider_alone_says() {
    let texts = definitions(seed(), DEFINITIONS);
    let expected: Vec<Picture> = texts.iter().map(alone).collect();
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let (task, child) = named();
    let task: TaskDef = serde_json::from_value(task).unwrap();
    let read = |text: &Value| WorkflowDef::from_json(&text.to_string()).unwrap();
    let defs: Vec<WorkflowDef> = std::iter::once(&child).chain(&texts).map(read).collect();
    engine.register(&[task], &defs).await.unwrap();
    let mut ids: Vec<WorkflowId> = Vec::new();
    for text in &texts {
        let name = text["name"].as_str().unwrap();
        ids.push(engine.start(StartRequest::new(name).input(json!({}))).await.unwrap().id);
    }
    engine.shutdown(Duration::ZERO).await;
    let mut processes = [Process::start(database.url()), Process::start(database.url())];
    let hits = storm(&client, database.url(), &mut processes).await;
    println!("{hits} kills met work in flight");
    assert!(hits > 0, "nothing was killed at work");
    let engine = Engine::builder(database.url()).build().await.unwrap();
    for ((text, expected), id) in texts.iter().zip(&expected).zip(ids) {
        let run = engine.get(id).await.unwrap();
        assert_eq!(Picture::of(&run), *expected, "{text}");
    }
    assert_eq!(number(&client, "SELECT count(*) FROM oms_engine.stuck_workflows").await, 0);
    assert_eq!(number(&client, "SELECT count(*) FROM oms_engine.open_tasks").await, 0);
}
