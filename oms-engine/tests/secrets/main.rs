//! Secrets: a task gets their values, and nothing else ever does.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
mod had;
mod handed;
#[path = "../common/stand_in.rs"]
mod stand_in;
mod told;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use oms_engine::tokio_postgres::Client;
use oms_engine::{
    Engine, Execution, SecretValue, SecretsProvider, StartRequest, TaskDef, WorkflowDef,
};

use common::wait;

const CARD: &str = r#"hunter-"2"-\x"#;
const TOKEN: &str = "tok-4711-abc";
const DB: &str = r#"{"user": "admin-9", "password": "swordfish", "port": 54329}"#;
/// What must stand nowhere.
const VALUES: [&str; 6] = ["hunter-", TOKEN, "swordfish", "54329", "admin-9", "-\\\\x"];

struct Known;

impl SecretsProvider for Known {
    async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>> {
        let known = BTreeMap::from([("CARD", CARD), ("TOKEN", TOKEN), ("DB", DB)]);
        Ok(known.get(name).map(|value| SecretValue::new(*value)))
    }
}

/// All that this program logs.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged() -> String {
    static LOGGED: OnceLock<Logged> = OnceLock::new();
    let logged = LOGGED.get_or_init(|| {
        let logged = Logged::default();
        let writer = logged.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(move || writer.clone())
            .init();
        logged
    });
    String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned()
}

/// Every row of every table of the engine as text.
async fn stored(client: &Client) -> String {
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'oms_engine'";
    let mut all = String::new();
    for table in client.query(sql, &[]).await.unwrap() {
        let table: String = table.get(0);
        let sql = format!("SELECT t::text FROM oms_engine.{table} t");
        for row in client.query(&sql, &[]).await.unwrap() {
            all.push_str(row.get(0));
            all.push('\n');
        }
    }
    all
}

fn assert_told_nowhere(what: &str, text: &str) {
    for value in VALUES {
        let line = text.lines().find(|line| line.contains(value)).map(|line| {
            let at = line.find(value).unwrap_or_default();
            line.chars().skip(at.saturating_sub(300)).take(600).collect::<String>()
        });
        assert_eq!(line, None, "{what} hold {value:?}");
    }
}

fn once(name: &str) -> TaskDef {
    TaskDef::new(name).retry_count(0)
}

async fn run(engine: &Engine, def: &WorkflowDef) -> Execution {
    engine.register_workflow(def).await.unwrap();
    let id = engine.start(StartRequest::new(&def.name)).await.unwrap().id;
    wait(engine, id).await
}
