//! Every edge of the tables of transitions is taken, and the diagrams in `docs/` are theirs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::model::{Edges, Model, Outcome};
use super::play::Move;
use super::random::compiled;
use crate::decide::status::{TASK_TRANSITIONS, WORKFLOW_TRANSITIONS};
use crate::decide::{TaskStatus, TimeoutKind, WorkflowStatus};
use crate::definition::{TaskDef, TimeoutPolicy, WorkflowDef, WorkflowTask};

fn edges_of(optional: bool, plays: &[Move]) -> Edges {
    let task = WorkflowTask { optional, retry_count: Some(0), ..WorkflowTask::simple("t", "r0") };
    let tasks = vec![task, WorkflowTask::simple("t", "r1")];
    let policy = if optional { TimeoutPolicy::Retry } else { TimeoutPolicy::TimeOutWorkflow };
    let def = TaskDef { timeout_policy: policy, ..TaskDef::default_for("t") };
    let plan = compiled(WorkflowDef { tasks, ..WorkflowDef::default() }, vec![def]);
    let mut model = Model::start(plan, json!({}));
    for play in plays {
        model.play(play);
    }
    model.finish();
    model.edges
}

#[test]
fn every_edge_of_the_tables_is_taken() {
    use Move as M;
    let report = |status| M::Report(Outcome::of(status));
    let timed_out = |kind| M::Report(Outcome::timed_out(kind));
    let runs = [
        (false, vec![M::Claim, M::GiveBack, M::Pause, M::Resume, M::Terminate, M::Retry]),
        (false, vec![M::Claim, M::Pause, M::Terminate, M::Restart]),
        (false, vec![timed_out(TimeoutKind::Poll), M::Restart]),
        (false, vec![timed_out(TimeoutKind::Task), M::Retry]),
        (false, vec![report(TaskStatus::Failed), M::Retry]),
        (false, vec![report(TaskStatus::FailedWithTerminalError)]),
        (false, vec![report(TaskStatus::Canceled)]),
        (true, vec![report(TaskStatus::Failed)]),
        (true, vec![timed_out(TimeoutKind::Poll)]),
        (false, vec![report(TaskStatus::Completed), report(TaskStatus::Completed), M::Restart]),
    ];
    let mut taken = Edges::default();
    for (optional, plays) in runs {
        let edges = edges_of(optional, &plays);
        taken.workflow.extend(edges.workflow);
        taken.task.extend(edges.task);
    }
    let table = Edges {
        workflow: WORKFLOW_TRANSITIONS.iter().map(|edge| (edge.0, edge.1)).collect(),
        task: TASK_TRANSITIONS.iter().map(|edge| (edge.0, edge.1)).collect(),
    };
    assert_eq!(taken, table);
}

#[test]
fn no_edge_leads_out_of_a_tasks_end_and_only_operators_out_of_a_runs() {
    assert!(TASK_TRANSITIONS.iter().all(|(from, ..)| !from.is_terminal()));
    for (from, to, by) in WORKFLOW_TRANSITIONS.iter().filter(|(from, ..)| from.is_terminal()) {
        assert_eq!(*to, WorkflowStatus::Running, "from {from}");
        assert!(by.contains("restart"), "{by}");
    }
}

/// The tables as a page with Mermaid diagrams.
fn page() -> String {
    let mut text = String::from(
        "# States\n\nPrinted from the tables in `oms-engine/src/decide/status.rs`, which the \
         decider is held to; a test takes every edge. To print it anew: `UPDATE_EXPECT=1 cargo \
         test -p oms-engine --lib the_state_diagrams`.\n",
    );
    let workflow =
        WORKFLOW_TRANSITIONS.iter().map(|edge| (edge.0.as_str(), edge.1.as_str(), edge.2));
    let ends = |status: &WorkflowStatus| status.is_terminal();
    let workflow_ends = WorkflowStatus::ALL.iter().filter(|s| ends(s)).map(|s| s.as_str());
    diagram(&mut text, ("Workflow", "RUNNING"), workflow, workflow_ends);
    let task = TASK_TRANSITIONS.iter().map(|edge| (edge.0.as_str(), edge.1.as_str(), edge.2));
    let reached = |status: &&TaskStatus| {
        status.is_terminal() && TASK_TRANSITIONS.iter().any(|edge| edge.1 == **status)
    };
    let task_ends = TaskStatus::ALL.iter().filter(reached).map(|s| s.as_str());
    diagram(&mut text, ("Task (one attempt)", "SCHEDULED"), task, task_ends);
    text
}

fn diagram<'a>(
    text: &mut String,
    (title, first): (&str, &str),
    edges: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
    ends: impl Iterator<Item = &'a str>,
) {
    let mut line = |args: std::fmt::Arguments<'_>| {
        text.write_fmt(args).expect("a text takes all");
        text.push('\n');
    };
    line(format_args!("\n## {title}\n\n```mermaid\nstateDiagram-v2\n    [*] --> {first}"));
    for (from, to, by) in edges {
        line(format_args!("    {from} --> {to}: {by}"));
    }
    for end in ends {
        line(format_args!("    {end} --> [*]"));
    }
    line(format_args!("```"));
}

#[test]
fn the_state_diagrams_in_the_docs_are_those_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state-diagrams.md");
    let page = page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).expect("docs/state-diagrams.md");
    assert_eq!(found, page, "run it again with UPDATE_EXPECT=1");
}
