//! Another program that uses a server: this test binary, started again in a role.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use oms_engine::embedded::{Postgres, Progress};
use oms_engine::testkit::TestDatabase;

const ROLE: &str = "OMS_TEST_ROLE";
const FOLDER: &str = "OMS_TEST_FOLDER";

/// A running program. It ends when this is dropped.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStdout>,
    /// What went on before the outcome.
    pub(crate) progress: Vec<String>,
}

/// Says how a program is started.
pub(crate) struct Launch(Command);

impl Launch {
    /// A program that keeps a server in `folder`.
    pub(crate) fn kept(folder: &Path) -> Self {
        Self::role("kept").env(FOLDER, folder)
    }

    /// A program whose server goes with its data.
    pub(crate) fn throwaway() -> Self {
        Self::role("throwaway")
    }

    /// A program that takes what there is, with nothing set.
    pub(crate) fn any_database() -> Self {
        Self::role("any_database")
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
        Program { child, said, progress: Vec::new() }
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
            if let Some((_, step)) = line.trim_end().split_once("@progress ") {
                self.progress.push(step.to_owned());
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

/// What a role holds, and its URL.
type Held = (Box<dyn Send>, String);

async fn take(role: &str, folder: OsString) -> Result<Held, String> {
    let builder = Postgres::builder();
    let started = match role {
        "kept" => {
            let report = |progress: Progress| println!("@progress {progress:?}");
            builder.kept_in(folder).on_progress(report).start().await
        }
        "throwaway" => builder.throwaway().start().await,
        "any_database" => {
            let database = builder.database().await.map_err(|error| error.to_string())?;
            let url = database.url().to_owned();
            return Ok((Box::new(database), url));
        }
        "test_database" => {
            let database = TestDatabase::empty().await.map_err(|error| error.to_string())?;
            let url = database.url().to_owned();
            return Ok((Box::new(database), url));
        }
        _ => return Err(format!("no such role: {role}")),
    };
    let server = started.map_err(|error| error.to_string())?;
    let url = server.url().to_owned();
    Ok((Box::new(server), url))
}

/// Holds what the role asks for until standard input ends.
fn play(role: &str, folder: OsString) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_held, url) = runtime.block_on(take(role, folder))?;
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
