//! A witness outside the engine's tables: a file to which every task appends a line.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where tasks say that they run. The file goes with it.
pub(crate) struct Witness(PathBuf);

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) task_id: String,
    pub(crate) process: u32,
}

impl Witness {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("oms-witness-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        File::create_new(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lines(&self) -> Vec<Seen> {
        read(&self.0)
    }

    /// How often each task ran.
    pub(crate) fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for seen in self.lines() {
            *counts.entry(seen.task_id).or_default() += 1;
        }
        counts
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Appends one line; lines of several processes never mix, since each is one short write.
pub(crate) fn append(path: &Path, task_id: &str) {
    let line = format!("{task_id} {}\n", std::process::id());
    OpenOptions::new().append(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
}

/// A line that no task writes.
const KILL: &str = "@kill";

/// Says that a worker was killed.
pub(crate) fn append_kill(path: &Path) {
    append(path, KILL);
}

pub(crate) fn kills(path: &Path) -> u64 {
    let kills = read(path).iter().filter(|seen| seen.task_id == KILL).count();
    u64::try_from(kills).unwrap()
}

pub(crate) fn read(path: &Path) -> Vec<Seen> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split_inclusive('\n')
        // The last line may be half written.
        .filter_map(|line| line.strip_suffix('\n')?.split_once(' '))
        .map(|(task_id, process)| Seen {
            task_id: task_id.to_owned(),
            process: process.parse().unwrap(),
        })
        .collect()
}
