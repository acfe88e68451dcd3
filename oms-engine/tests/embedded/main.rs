//! Servers that programs find, download, start, share and leave behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "a program in a role says what it has")]

mod download;
mod errors;
mod http;
mod lifetime;
mod own;
mod program;
mod shared;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Much longer than anything takes; a test that gets there fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A new folder below the temporary folder, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oms-t-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its servers first: one without its data could not be told to stop.
        for lock in supervisor_locks(&self.0) {
            wait_until("a supervisor ends", || lock.try_lock().is_ok());
        }
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn supervisor_locks(folder: &Path) -> Vec<std::fs::File> {
    let Ok(below) = std::fs::read_dir(folder) else { return Vec::new() };
    below
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .flat_map(|entry| match std::fs::File::open(entry.path().join("supervisor.lock")) {
            Ok(lock) => vec![lock],
            Err(_) => supervisor_locks(&entry.path()),
        })
        .collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up_at, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder's entries, sorted.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn text(client: &tokio_postgres::Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
