//! Commands that go to a server.

use serde_json::{Value, json};

use crate::command::{oms, oms_with};
use crate::running::server;

const NOT_THERE: &str = "0190b0a0-0000-7000-8000-000000000000";

fn file(folder: &std::path::Path, name: &str, value: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A folder that goes when this does.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("oms-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn line(version: i32, tasks: &[&str]) -> Value {
    let task = |name: &&str| json!({"name": name, "taskReferenceName": name, "type": "SIMPLE"});
    let tasks: Vec<Value> = tasks.iter().map(task).collect();
    json!({"name": "line", "version": version, "tasks": tasks})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_operated_and_watched_to_its_end() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let started = server.oms(&["workflow", "start", "line", "--input", r#"{"n": 7}"#]).expect(0);
    let id = started.out.trim();
    let run = server.oms_json(&["workflow", "get", id]);
    assert_eq!((&run["status"], &run["input"]["n"]), (&json!("RUNNING"), &json!(7)));
    assert_eq!(server.oms(&["workflow", "pause", id]).expect(0).out, format!("{id}\tpaused\n"));
    assert_eq!(server.run(id)["status"], json!("PAUSED"));
    let watched = server.oms(&["workflow", "watch", id, "--timeout", "0"]).expect(6);
    assert!(watched.err.contains("is PAUSED"), "{watched:?}");
    server.oms(&["workflow", "resume", id]).expect(0);
    server.oms(&["workflow", "terminate", id, "--reason", "enough"]).expect(0);
    let watched = server.oms(&["--json", "workflow", "watch", id]).expect(7).json();
    assert_eq!(
        (&watched["status"], &watched["reasonForIncompletion"]),
        (&json!("TERMINATED"), &json!("enough"))
    );
    server.oms(&["workflow", "retry", id]).expect(0);
    server.oms(&["workflow", "terminate", id]).expect(0);
    server.oms(&["workflow", "restart", id, "--latest"]).expect(0);
    for _ in 0..2 {
        let polled = server.oms_json(&["task", "poll", "work", "--timeout", "5000"]);
        let task = polled[0]["taskId"].as_str().unwrap().to_owned();
        server.oms(&["task", "update", &task, "COMPLETED", "--output", r#"{"ok": 1}"#]).expect(0);
        assert_eq!(server.oms_json(&["task", "get", &task])["outputData"], json!({"ok": 1}));
    }
    let watched = server.oms(&["workflow", "watch", id]).expect(0);
    assert!(watched.out.contains("work_1\tCOMPLETED\nworkflow\tCOMPLETED"), "{watched:?}");
    server.oms(&["workflow", "rerun", id, "--input", r#"{"n": 8}"#]).expect(0);
    assert_eq!(server.run(id)["input"], json!({"n": 8}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_explained_while_it_waits_and_when_it_has_ended() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let (first, id) = (server.start_workflow("line"), server.start_workflow("line"));
    let said = server.oms(&["explain", &id]).expect(0);
    assert!(
        said.out.contains("work_0 waits for a worker in the queue work, where 1 is before it"),
        "{said:?}"
    );
    let explained = server.oms_json(&["explain", &first]);
    assert_eq!(explained["openTasks"][0]["waitsFor"]["ahead"], json!(0));
    server.oms(&["task", "poll", "work", "--timeout", "5000", "--worker", "me"]).expect(0);
    server.oms(&["task", "update", &first, "COMPLETED", "--reference", "work_0"]).expect(0);
    let ended = server.oms_json(&["explain", &first]);
    assert_eq!((&ended["status"], &ended["openTasks"]), (&json!("COMPLETED"), &json!([])));
    assert_eq!(ended["time"]["criticalPath"][0]["referenceTaskName"], json!("work_0"));
    server.oms(&["explain", NOT_THERE]).expect(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_brought_back_is_removed_only_by_who_is_sure() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let (id, running) = (server.start_workflow("line"), server.start_workflow("line"));
    server.oms(&["workflow", "terminate", &id]).expect(0);
    let refused = server.oms(&["workflow", "remove", &id]).expect(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
    server.oms(&["workflow", "get", &id]).expect(0);
    let all = ["--json", "workflow", "remove", "--yes", &id, &running];
    let told = server.oms(&all).expect(4).json();
    assert_eq!((&told[0]["done"], &told[1]["done"]), (&json!(true), &json!(false)));
    server.oms(&["workflow", "get", &id]).expect(3);
    server.oms(&["workflow", "remove", "--yes", &id]).expect(3);
    server.oms(&["workflow", "terminate", &running]).expect(0);
    let said = server.oms(&["workflow", "remove", "--yes", &running]).expect(0);
    assert_eq!(said.out, format!("{running}\tremoved\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_by_name_status_and_correlation_id() {
    let (_database, server) = server().await;
    server.register("line", 1);
    server.register("other", 1);
    let start = ["workflow", "start", "line", "--correlation-id", "c 1"];
    let first = server.oms(&start).expect(0).out.trim().to_owned();
    let (second, other) = (server.start_workflow("line"), server.start_workflow("other"));
    server.oms(&["workflow", "terminate", &second]).expect(0);
    let list = |arguments: &[&str]| -> Vec<String> {
        let said = server.oms(&[&["workflow", "list"], arguments].concat()).expect(0);
        said.out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(list(&[]), [&*other, &second, &first]);
    assert_eq!(list(&["--name", "line"]), [&*second, &first]);
    assert_eq!(list(&["--name", "line", "--status", "RUNNING"]), [&*first]);
    assert_eq!(list(&["--status", "RUNNING", "--status", "TERMINATED", "--size", "2"]).len(), 2);
    assert_eq!(list(&["--correlation-id", "c 1"]), [&*first]);
    assert_eq!(list(&["--query", "status = FAILED"]), Vec::<String>::new());
    server.oms(&["workflow", "list", "--query", "nonsense"]).expect(4);
    server.oms(&["workflow", "list", "--name", "a\"b"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_shown_as_a_picture() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let said = server.oms(&["definition", "show", "line", "--svg"]).expect(0);
    assert!(said.out.starts_with("<svg xmlns=") && said.out.ends_with("</svg>\n"), "{said:?}");
    for text in ["line version 1", "work_0", "work_1"] {
        assert!(said.out.contains(text), "{text}");
    }
    server.oms(&["definition", "show", "none", "--svg"]).expect(3);
    server.oms(&["definition", "show", "work", "--svg", "--task"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_skipped_and_a_named_task_reported() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let id = server.start_workflow("line");
    server.oms(&["workflow", "skip", &id, "work_1", "--output", r#"{"s": 1}"#]).expect(0);
    let update = ["task", "update", &id, "COMPLETED", "--reference", "work_0"];
    server.oms(&update).expect(0);
    assert_eq!(server.run(&id)["status"], json!("COMPLETED"));
    let missing = server.oms(&update).expect(3);
    assert!(missing.err.contains("no open task \"work_0\""), "{missing:?}");
    server.oms(&["task", "poll", "work"]).expect(7);
    assert_eq!(server.oms_json(&["task", "queues"]), json!({}));
    let first = server.run(&id)["tasks"][0]["taskId"].as_str().unwrap().to_owned();
    server.post(&format!("/api/tasks/{first}/log"), &json!("said")).expect(200);
    assert!(server.oms(&["task", "log", &first]).expect(0).out.ends_with(" said\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_told_by_the_exit_code_what_went_wrong_and_by_the_text_what_to_do() {
    let (_database, server) = server().await;
    let missing = server.oms(&["workflow", "get", NOT_THERE]).expect(3);
    assert!(missing.err.contains(NOT_THERE) && missing.out.is_empty(), "{missing:?}");
    let missing = server.oms(&["--json", "workflow", "pause", NOT_THERE]).expect(3);
    let error: Value = serde_json::from_str(&missing.err).unwrap();
    assert_eq!((&error["status"], &error["exitCode"]), (&json!(404), &json!(3)));
    server.register("line", 1);
    let id = server.start_workflow("line");
    server.oms(&["workflow", "resume", &id]).expect(4);
    let both = server.oms(&["--json", "workflow", "terminate", &id, NOT_THERE]).expect(3).json();
    assert_eq!((&both[0]["done"], &both[1]["done"]), (&json!(true), &json!(false)));
    server.oms(&["workflow", "start", "line", "--input", "7"]).expect(2);
    server.oms(&["workflow", "start", "line", "--input", "{"]).expect(2);
    server.oms(&["workflow", "nonsense"]).expect(2);
    let away = oms(&["task", "queues", "--server", "http://127.0.0.1:1"]).expect(6);
    assert!(away.err.contains("oms server"), "{away:?}");
    oms(&["task", "queues", "--server", "localhost"]).expect(2);
    oms(&["task", "queues", "--server", "http://x", "--ca-cert", "/none"]).expect(2);
    oms(&["--json", "completions", "bash"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_checked_registered_shown_and_compared() {
    let (_database, server) = server().await;
    let scratch = Scratch::new("definitions");
    let tasks = json!([{"name": "a", "retryCount": 1}, {"name": "b"}]);
    let tasks = file(&scratch.0, "tasks.json", &tasks);
    let one = file(&scratch.0, "line.json", &line(1, &["a", "b"]));
    oms(&["definition", "validate", &tasks, &one]).expect(0);
    let wrong = file(&scratch.0, "wrong.json", &line(1, &["a", "a"]));
    let refused = oms(&["definition", "validate", &wrong]).expect(4);
    assert!(refused.out.contains("  $.tasks[1]"), "{refused:?}");
    let refused = oms(&["--json", "definition", "validate", &wrong]).expect(4).json();
    assert_eq!(refused[0]["faults"].as_array().unwrap().len(), 1);
    oms(&["definition", "validate", "/not/there.json"]).expect(3);

    assert!(server.oms(&["definition", "diff", &one]).expect(7).out.contains("missing"));
    server.oms(&["definition", "register", &one, &tasks]).expect(0);
    assert!(server.oms(&["definition", "diff", &one, &tasks]).expect(0).out.contains("same"));
    let refused = server.oms(&["definition", "register", &one]).expect(4);
    assert!(refused.err.contains("--overwrite"), "{refused:?}");
    let other = file(&scratch.0, "other.json", &line(1, &["a", "c"]));
    let found = server.oms(&["--json", "definition", "diff", &other]).expect(7).json();
    assert_eq!(
        found[0]["differences"][0],
        json!({"path": "$.tasks[1].name", "ours": "c", "theirs": "b"})
    );
    server.oms(&["definition", "register", "--overwrite", &other]).expect(0);
    assert_eq!(server.oms_json(&["definition", "show", "line"])["tasks"][1]["name"], json!("c"));
    assert_eq!(server.oms_json(&["definition", "show", "--task", "a"])["retryCount"], json!(1));
    assert_eq!(server.oms(&["definition", "list"]).expect(0).out, "line\t1\t\n");
    server.oms(&["definition", "remove", "line", "--version", "1"]).expect(0);
    server.oms(&["definition", "remove", "b", "--task"]).expect(0);
    server.oms(&["definition", "show", "line"]).expect(3);
    let stdin = line(2, &["a"]).to_string();
    let variables = [("OMS_SERVER", server.url.as_str())];
    oms_with(&["definition", "register", "-"], &stdin, &variables).expect(0);
    assert_eq!(server.oms_json(&["definition", "show", "line"])["version"], json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_kept_paused_and_removed() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let scratch = Scratch::new("schedules");
    let schedule = json!({
        "name": "nightly", "cronExpression": "0 0 3 * * *",
        "startWorkflowRequest": {"name": "line"},
    });
    let schedule = file(&scratch.0, "nightly.json", &schedule);
    let kept = server.oms_json(&["schedule", "put", &schedule]);
    assert!(kept[0]["nextRunTime"].is_i64(), "{kept}");
    server.oms(&["schedule", "pause", "nightly", "--reason", "quiet"]).expect(0);
    assert_eq!(server.oms_json(&["schedule", "show", "nightly"])["pausedReason"], json!("quiet"));
    let listed = server.oms(&["schedule", "list", "--workflow", "line"]).expect(0).out;
    assert!(listed.starts_with("nightly\t0 0 3 * * *\tline\ttrue"), "{listed}");
    server.oms(&["schedule", "resume", "nightly"]).expect(0);
    server.oms(&["schedule", "remove", "nightly"]).expect(0);
    server.oms(&["schedule", "show", "nightly"]).expect(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_runs_all_workflows_to_their_end_and_says_how_fast() {
    let (_database, server) = server().await;
    let arguments = ["bench", "--workflows", "20", "--steps", "2", "--workers", "2"];
    let told = server.oms_json(&arguments);
    assert!(told["workflowsPerSecond"].as_f64().unwrap() > 0.0, "{told}");
    assert!(told["latencyMs"]["p50"].as_f64() <= told["latencyMs"]["max"].as_f64(), "{told}");
    let running = server.get("/api/workflow/running/oms_bench_2").expect(200).json();
    assert_eq!(running, json!([]));
    server.oms(&["bench", "--workflows", "0"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_pushed_to_another_server_and_what_it_will_not_do_is_listed() {
    let (_here, here) = server().await;
    let (_there, there) = server().await;
    let folder = Scratch::new("push");
    let mut undone = line(3, &["pay"]);
    undone["name"] = json!("undone");
    undone["tasks"][0]["compensation"] = json!({"name": "refund", "type": "SIMPLE"});
    undone["inputSchema"] = json!({"name": "s", "type": "JSON", "data": {"type": "object"}});
    let limited = json!({"name": "pay", "rateLimitPerFrequency": 5, "isolationGroupId": "slow"});
    let undone = file(&folder.0, "undone.json", &undone);
    let limited = file(&folder.0, "limited.json", &limited);
    let push = |more: &[&str]| {
        let all = [&["--json", "definition", "push", "--to", &there.url], more].concat();
        here.oms(&all)
    };

    let listed = push(&["--dry-run", &undone, &limited]).expect(7).json();
    let paths: Vec<&str> = (0..2)
        .flat_map(|n| listed[n]["missing"].as_array().unwrap())
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    let expected =
        ["/rateLimitPerFrequency", "/isolationGroupId", "/inputSchema", "/tasks/0/compensation"];
    assert_eq!(paths, expected, "{listed:#}");
    there.get("/api/metadata/taskdefs/pay").expect(404);

    // This server undoes.
    let pushed = push(&[&undone]).expect(7).json();
    let missing = pushed[0]["missing"].as_array().unwrap();
    assert_eq!((missing.len(), &missing[0]["path"]), (1, &json!("/inputSchema")));
    assert_eq!(pushed[0]["registered"], json!(true));
    there.get("/api/metadata/workflow/undone?version=3").expect(200);
    let refused = push(&[&undone]).expect(4);
    assert!(refused.err.contains("--overwrite"), "{refused:?}");
    push(&["--overwrite", &undone]).expect(7);

    // Without files, all that the server has.
    here.register("other", 2);
    let pushed = push(&[]).expect(0).json();
    assert_eq!(pushed[0]["definition"], json!("workflow definition other version 1"));
    there.get("/api/metadata/workflow/other").expect(200);
}
