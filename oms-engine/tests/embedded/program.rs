//! Another program that uses a server: this test binary, started again in a role.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use oms_engine::embedded::Postgres;
use oms_engine::testkit::TestDatabase;

const ROLE: &str = "OMS_TEST_ROLE";
const FOLDER: &str = "OMS_TEST_FOLDER";

/// A running program. It ends when this is dropped.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStdout>,
}

/// Says how a program is started.
pub(crate) struct Launch(Command);

impl Launch {
    /// A program that keeps a server in `folder`.
    pub(crate) fn kept(folder: &Path) -> Self {
        Self::role("kept").env(FOLDER, folder)
    }

    /// A program that has a test database.
    pub(crate) fn test_database() -> Self {
        Self::role("test_database")
    }

    fn role(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "program::plays_the_role_that_it_is_given", "--nocapture"]);
        command.env(ROLE, role).process_group(0);
        Self(command)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn start(mut self) -> Program {
        let mut child = self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Program { child, said }
    }
}

impl Program {
    /// Waits for what the program has: a URL, or the error's text.
    pub(crate) fn outcome(&mut self) -> Result<String, String> {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some((_, url)) = line.trim_end().split_once("@ok ") {
                return Ok(url.to_owned());
            }
            if let Some((_, text)) = line.trim_end().split_once("@error ") {
                return Err(text.replace("\\n", "\n"));
            }
            line.clear();
        }
        panic!("the program ended without a word");
    }

    /// Ends it with SIGKILL, with its whole process group, as a closed terminal may.
    pub(crate) fn kill(mut self) {
        let group = format!("-{}", self.child.id());
        let status = Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Holds what the role asks for until standard input ends.
fn play(role: &str, folder: OsString) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let held: Result<(Box<dyn Send>, String), String> = runtime.block_on(async {
        match role {
            "kept" => match Postgres::builder().kept_in(folder).start().await {
                Ok(server) => {
                    let url = server.url().to_owned();
                    Ok((Box::new(server) as Box<dyn Send>, url))
                }
                Err(error) => Err(error.to_string()),
            },
            "test_database" => match TestDatabase::empty().await {
                Ok(database) => {
                    let url = database.url().to_owned();
                    Ok((Box::new(database) as Box<dyn Send>, url))
                }
                Err(error) => Err(error.to_string()),
            },
            _ => Err(format!("no such role: {role}")),
        }
    });
    let (_held, url) = held?;
    println!("@ok {url}");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    Ok(())
}

#[test]
fn plays_the_role_that_it_is_given() {
    let Some(role) = std::env::var_os(ROLE) else {
        assert_eq!(play("none", OsString::new()), Err("no such role: none".to_owned()));
        return;
    };
    let folder = std::env::var_os(FOLDER).unwrap_or_default();
    if let Err(text) = play(role.to_str().unwrap(), folder) {
        println!("@error {}", text.replace('\n', "\\n"));
    }
}
