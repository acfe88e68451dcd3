//! A server process on a database of its own, and a client.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use serde_json::{Value, json};

/// A running `oms server`; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    _said: BufReader<ChildStdout>,
    pub(crate) url: String,
    agent: ureq::Agent,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) text: String,
    /// Whose web pages may read it.
    pub(crate) allowed: Option<String>,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// A server on a new database.
pub(crate) async fn server() -> (TestDatabase, Running) {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let running = Running::start(database.url(), &[]);
    (database, running)
}

impl Running {
    pub(crate) fn start(database_url: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oms"));
        command.args(["server", "--port", "0", "--database-url", database_url]).args(more);
        Self::launch(command)
    }

    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("oms server listens on ");
        let url = url.unwrap_or_else(|| panic!("it said {line:?}")).to_owned();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A server may close a connection behind a body that nobody asked for.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)));
        Self { child, _said: said, url, agent: config.build().into() }
    }

    /// Of the server's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Answered {
        self.send_with(method, path, body, &[])
    }

    pub(crate) fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Answered {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        let allowed = response.headers().get("access-control-allow-origin");
        let allowed = allowed.map(|origin| origin.to_str().unwrap().to_owned());
        let kind = response.headers().get("content-type");
        Answered {
            status: response.status().as_u16(),
            kind: kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default(),
            text: response.body_mut().read_to_string().unwrap(),
            allowed,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answered {
        self.send("GET", path, Vec::new())
    }

    pub(crate) fn delete(&self, path: &str) -> Answered {
        self.send("DELETE", path, Vec::new())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answered {
        self.send("POST", path, body.to_string().into_bytes())
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answered {
        self.send("PUT", path, body.to_string().into_bytes())
    }

    /// Registers a line of tasks of the name `work`.
    pub(crate) fn register(&self, name: &str, steps: usize) {
        let task = |n: usize| {
            json!({
                "name": "work",
                "taskReferenceName": format!("work_{n}"),
                "type": "SIMPLE",
                "inputParameters": {"n": "${workflow.input.n}"},
            })
        };
        let tasks: Vec<Value> = (0..steps).map(task).collect();
        let def = json!({"name": name, "version": 1, "schemaVersion": 2, "tasks": tasks});
        self.post("/api/metadata/workflow?overwrite=True", &def).expect(200);
    }

    pub(crate) fn start_workflow(&self, name: &str) -> String {
        self.post("/api/workflow", &json!({"name": name, "input": {"n": 7}})).expect(200).text
    }

    pub(crate) fn run(&self, id: &str) -> Value {
        self.get(&format!("/api/workflow/{id}")).expect(200).json()
    }

    /// Waits for a task of `work`.
    pub(crate) fn poll(&self) -> Value {
        let path = "/api/tasks/poll/batch/work?workerid=w&count=1&timeout=5000";
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            let mut tasks = self.get(path).expect(200).json();
            if let Some(task) = tasks.as_array_mut().unwrap().pop() {
                return task;
            }
        }
        panic!("no task came");
    }

    /// Ends it with a signal. Out: whether it ended well.
    pub(crate) fn stop(&mut self, signal: &str) -> bool {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error is a server that has ended.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

/// The result of a task, as a worker sends it.
pub(crate) fn result_of(task: &Value, status: &str) -> Value {
    json!({
        "taskId": task["taskId"],
        "workflowInstanceId": task["workflowInstanceId"],
        "workerId": "w",
        "status": status,
        "outputData": {"done": true},
        "logs": null,
    })
}
