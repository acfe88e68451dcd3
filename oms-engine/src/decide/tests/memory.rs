//! What a run's holder remembers stays small, so that a step costs the same however many steps
//! are done.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::model::{Model, Outcome};
use super::random::{compiled, outcome, plan};
use crate::decide::{Event, Plan, RunState, TaskEnd, TaskStatus, decide};
use crate::definition::{Payload, TaskDef, WorkflowDef, WorkflowTask};
use crate::ids::WorkflowId;

fn line(steps: usize, reads: impl Fn(usize) -> Option<String>) -> Plan {
    let tasks = (0..steps).map(|step| {
        let task = WorkflowTask::simple("t", format!("r{step}"));
        match reads(step) {
            Some(read) => task.input("read", read),
            None => task,
        }
    });
    let def = WorkflowDef { tasks: tasks.collect(), ..WorkflowDef::default() };
    compiled(def, vec![TaskDef::default_for("t")])
}

/// The most facts that were remembered at once over a run of `plan`.
fn most_facts(plan: Plan) -> usize {
    let mut model = Model::start(plan, json!({}));
    let mut most = 0;
    while !model.status.is_terminal() {
        model.report(Outcome::completed(json!({ "v": "x".repeat(100) })));
        if model.token.is_some() {
            most = most.max(model.memory.facts.len());
        }
    }
    most
}

#[test]
fn a_long_line_remembers_as_little_as_a_short_one() {
    let before = |step: usize| Some(format!("${{r{}.output.v}}", step.checked_sub(1)?));
    assert_eq!((most_facts(line(5, before)), most_facts(line(60, before))), (1, 1));
    let second = |step: usize| (step > 2).then(|| "${r1.output.v}".to_owned());
    assert_eq!((most_facts(line(5, second)), most_facts(line(60, second))), (1, 1));
}

#[test]
fn a_payload_that_nothing_reads_is_not_remembered() {
    let mut model =
        Model::start(line(3, |step| (step == 2).then(|| "${r0.status}".to_owned())), json!({}));
    model.report(Outcome::completed(json!({ "v": 1 })));
    let fact = &model.memory.facts["r0"];
    assert_eq!((&fact.input, &fact.output), (&None, &None));
}

#[test]
fn what_goes_through_is_not_looked_into() {
    let plan = line(2, |_| Some("${workflow.input.a}".to_owned()));
    let id = WorkflowId::from_uuid(uuid::Uuid::nil());
    let given = Arc::new(json!({ "a": [1] }));
    let mut state = RunState::new(id, given, Arc::new(json!({})), None);
    let begun = decide(&plan, &mut state, &Event::Start).unwrap();
    let input = begun.scheduled[0].input.clone();
    let output = Payload::write(&json!({ "v": 1 })).unwrap();
    let end = TaskEnd {
        reference_name: "r0".into(),
        attempt: 0,
        status: TaskStatus::Completed,
        input: Some(input.clone()),
        output: Some(output.clone()),
        reason: None,
        retry_after: None,
        timeout: None,
        jitter: 0.0,
    };
    let end = end.held_to_schema(&plan, &state).into_owned();
    let next = decide(&plan, &mut state, &Event::Ended(end)).unwrap();
    let next = next.scheduled[0].input.clone();
    assert!(next.as_text().is_some() && output.as_text().is_some());
    assert!(![&input, &output, &next].iter().any(|payload| payload.is_read()));
    assert_eq!(*next, json!({ "read": [1] }));
}

proptest! {
    /// That it decides the same is asserted by the model at each step.
    #[test]
    fn only_what_is_still_read_is_remembered(
        plan in plan(), outcomes in prop::collection::vec(outcome(), 1..12),
    ) {
        let mut model = Model::start(plan, json!({ "which": "r0" }));
        for outcome in outcomes {
            model.report(outcome);
            let Some(at) = model.memory.open.keys().next().and_then(|name| model.plan.graph.index_of(name))
            else {
                break;
            };
            for name in model.memory.facts.keys() {
                let read = |step: usize| {
                    let reads = model.plan.graph.nodes[step].input.reads();
                    reads.dynamic || reads.tasks.contains_key(&**name)
                };
                let by_output = model.plan.output.as_ref().map(|output| output.reads());
                let by_output =
                    by_output.is_some_and(|reads| reads.dynamic || reads.tasks.contains_key(&**name));
                let node = model.plan.node(name).expect("a step of the plan");
                let own = model.memory.open.contains_key(name);
                let later = (at..model.plan.graph.nodes.len()).any(read);
                prop_assert!(own || by_output || node.permissive || later, "{name} is not read again");
            }
        }
    }
}
