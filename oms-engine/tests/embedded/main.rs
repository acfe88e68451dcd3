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
        // A server that is still stopping may be writing here.
        wait_until("its folder can be removed", || {
            std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists()
        });
    }
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
