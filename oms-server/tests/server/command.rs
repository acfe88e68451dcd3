//! The binary as a command that a script calls.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::running::Running;

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn oms(arguments: &[&str]) -> Said {
    oms_with(arguments, "", &[])
}

/// With something on its stdin, and with variables.
pub(crate) fn oms_with(arguments: &[&str], stdin: &str, variables: &[(&str, &str)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oms"));
    for unset in ["DATABASE_URL", "OMS_SERVER", "OMS_KEY_ID", "OMS_KEY_SECRET", "RUST_LOG"] {
        command.env_remove(unset);
    }
    let mut child = command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read it.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Running {
    /// A command at this server.
    pub(crate) fn oms(&self, arguments: &[&str]) -> Said {
        oms_with(arguments, "", &[("OMS_SERVER", &self.url)])
    }

    /// As [`oms`](Self::oms), with its answer in JSON.
    #[track_caller]
    pub(crate) fn oms_json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["--json"], arguments].concat();
        self.oms(&arguments).expect(0).json()
    }
}
