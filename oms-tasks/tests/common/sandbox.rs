//! The gateway and carrier, in a process that outlives whatever becomes of the workers.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use oms_engine::WorkflowId;
use oms_tasks::sandbox::{Ledger, OrderTotals};

/// A file name of its own; the file goes with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(what: &str) -> Self {
        Self(std::env::temp_dir().join(format!("oms-tasks-{what}-{}", WorkflowId::new())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Not there when the test failed early.
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

pub(crate) struct Sandbox {
    pub(crate) address: SocketAddr,
    child: Child,
    ledger: Scratch,
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        let ledger = Scratch::new("ledger");
        let mut child = Command::new(env!("CARGO_BIN_EXE_oms-sandbox"))
            .arg("--ledger")
            .arg(&ledger.0)
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), child, ledger }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::read(&self.ledger.0).unwrap()
    }

    /// What the gateway and the carrier say of one order.
    pub(crate) fn order(&self, order_id: &str) -> OrderTotals {
        self.ledger().order(order_id)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}
