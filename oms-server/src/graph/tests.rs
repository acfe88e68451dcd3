use std::collections::BTreeSet;

use oms_engine::WorkflowDef;
use serde_json::{Value, json};

use super::layout::{HEIGHT, Layout, WIDTH, layout, layout_of_run};
use super::run::{Forks, Mark, Opened, Rest};
use super::svg::{alone, within};

/// Numbers that look random and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// Some steps, with others in them while the depth lasts.
    fn tasks(&mut self, depth: u64, names: &mut u64) -> Vec<Value> {
        let count = 1 + self.below(4);
        (0..count).flat_map(|_| self.task(depth, names)).collect()
    }

    fn task(&mut self, depth: u64, names: &mut u64) -> Vec<Value> {
        *names += 1;
        let name = format!("step_{names}");
        let own = |more: Value| {
            let mut task = json!({"name": "work", "taskReferenceName": name});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        match if depth == 0 { 9 } else { self.below(10) } {
            0 => {
                let cases =
                    json!({"a": self.tasks(depth - 1, names), "b": self.tasks(depth - 1, names)});
                let other =
                    if self.below(2) == 0 { Vec::new() } else { self.tasks(depth - 1, names) };
                vec![own(json!({"type": "SWITCH", "decisionCases": cases, "defaultCase": other}))]
            }
            1 | 2 => {
                let branches: Vec<Value> = (0..=self.below(4))
                    .map(|_| Value::from(self.tasks(depth - 1, names)))
                    .collect();
                vec![own(json!({"type": "FORK_JOIN", "forkTasks": branches}))]
            }
            3 => vec![own(json!({"type": "DO_WHILE", "loopOver": self.tasks(depth - 1, names)}))],
            4 => vec![own(
                json!({"type": "SIMPLE", "compensation": {"name": "undo", "type": "SIMPLE"}}),
            )],
            5 => vec![own(json!({"type": "TERMINATE"}))],
            _ => vec![own(json!({"type": "SIMPLE"}))],
        }
    }
}

fn def(tasks: &[Value]) -> WorkflowDef {
    WorkflowDef::from_json(&json!({"name": "w", "version": 1, "tasks": tasks}).to_string()).unwrap()
}

fn check(drawn: &Layout, def: &WorkflowDef) {
    let names: BTreeSet<&str> = drawn.nodes.iter().map(|n| n.reference_name.as_str()).collect();
    assert_eq!(names.len(), drawn.nodes.len(), "a step is drawn twice");
    assert_eq!(drawn.nodes.len(), def.all_tasks().len());
    check_places(drawn);
}

fn check_places(drawn: &Layout) {
    for node in &drawn.nodes {
        let (x, y) = node.at;
        assert!(x >= 0 && y >= 0 && x + WIDTH <= drawn.width && y + HEIGHT <= drawn.height);
    }
    for (n, a) in drawn.nodes.iter().enumerate() {
        for b in &drawn.nodes[n + 1..] {
            let apart = (a.at.0 - b.at.0).abs() >= WIDTH || (a.at.1 - b.at.1).abs() >= HEIGHT;
            assert!(apart, "{a:?} and {b:?}");
        }
    }
    for edge in &drawn.edges {
        assert!(edge.points.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{edge:?}");
        // None leads through a step: its ends may touch one, nothing else of it.
        for pair in edge.points.windows(2) {
            let (left, right) = (pair[0].0.min(pair[1].0), pair[0].0.max(pair[1].0));
            for node in &drawn.nodes {
                let inside = left < node.at.0 + WIDTH
                    && right > node.at.0
                    && pair[0].1 < node.at.1 + HEIGHT
                    && pair[1].1 > node.at.1;
                assert!(!inside, "{edge:?} through {node:?}");
            }
        }
    }
    for frame in &drawn.frames {
        assert!(frame.at.0 >= 0 && frame.at.0 + frame.size.0 <= drawn.width);
    }
}

#[test]
fn no_two_steps_overlap_and_edges_go_down_past_all_others() {
    let mut draw = Draw(7);
    let mut most = 0;
    for _ in 0..300 {
        let mut names = 0;
        let def = def(&draw.tasks(4, &mut names));
        most = most.max(names);
        check(&layout(&def), &def);
    }
    assert!(most > 100, "{most}");
}

#[test]
fn what_follows_stands_below_and_branches_stand_side_by_side() {
    let step = |name: &str| json!({"name": "work", "taskReferenceName": name, "type": "SIMPLE"});
    let fork = json!({
        "name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN",
        "forkTasks": [[step("left"), step("lower")], [step("right")]],
    });
    let drawn = layout(&def(&[step("first"), fork, step("last")]));
    let at = |name: &str| drawn.nodes.iter().find(|n| n.reference_name == name).unwrap().at;
    let order = ["first", "fork", "left", "lower", "last"].map(|name| at(name).1);
    assert!(order.windows(2).all(|pair| pair[0] + HEIGHT <= pair[1]), "{order:?}");
    assert_eq!(at("left").1, at("right").1);
    assert!(at("left").0 + WIDTH < at("right").0);
    assert_eq!(at("first").0, at("last").0);
}

#[test]
fn nothing_follows_a_step_that_ends_the_run() {
    let end = json!({"name": "end", "taskReferenceName": "end", "type": "TERMINATE"});
    let drawn = layout(&def(&[end]));
    assert_eq!(drawn.edges.len(), 1);
}

#[test]
fn names_are_text_in_the_picture_whatever_they_say() {
    let hostile = "</title><script>alert(1)</script>\" onload=\"x\u{1}";
    let task = json!({"name": hostile, "taskReferenceName": hostile, "type": hostile});
    let switch = json!({
        "name": "s", "taskReferenceName": "s", "type": "SWITCH", "decisionCases": {hostile: [task]},
    });
    let svg = alone(&layout(&def(&[switch])), hostile);
    assert!(
        !svg.contains("<script") && !svg.contains("\" onload") && !svg.contains('\u{1}'),
        "{svg}"
    );
    assert_eq!(svg.matches("<title>").count(), svg.matches("</title>").count());
}

#[test]
fn a_definition_without_steps_and_one_that_is_very_deep_are_drawn() {
    check(&layout(&def(&[])), &def(&[]));
    let mut task = json!({"name": "work", "taskReferenceName": "n", "type": "SIMPLE"});
    for n in 0..99 {
        task = json!({
            "name": "fork", "taskReferenceName": format!("n{n}"), "type": "FORK_JOIN",
            "forkTasks": [[task], []],
        });
    }
    let deep = def(&[task]);
    let drawn = layout(&deep);
    check(&drawn, &deep);
    assert!(alone(&drawn, "deep").len() < 200_000);
}

fn fork(name: &str) -> Value {
    json!({"name": name, "taskReferenceName": name, "type": "FORK_JOIN_DYNAMIC"})
}

fn opened(branches: &[Value]) -> Opened {
    let branches = branches.iter().map(|branch| serde_json::from_value(branch.clone()).unwrap());
    Opened { branches: branches.collect(), rest: Vec::new() }
}

#[test]
fn what_a_dynamic_fork_has_opened_stands_below_it_and_in_a_definition_it_is_a_step() {
    let step = |name: &str| json!({"name": "work", "taskReferenceName": name, "type": "SIMPLE"});
    let join = json!({"name": "join", "taskReferenceName": "join", "type": "JOIN"});
    let def = def(&[fork("fork"), join, step("last")]);
    check(&layout(&def), &def);
    let case = json!({"name": "s", "taskReferenceName": "s", "type": "SWITCH",
        "decisionCases": {"a": [step("in")]}, "defaultCase": []});
    let mut all = opened(&[step("left"), case, step("right")]);
    let mark = Mark { class: "bad", word: "failed".to_owned(), ..Mark::default() };
    all.rest.push(Rest { text: "and 970 more".to_owned(), mark });
    let drawn = layout_of_run(&def, &Forks::from([("fork".to_owned(), all)]));
    check_places(&drawn);
    let names: Vec<&str> = drawn.nodes.iter().map(|node| node.reference_name.as_str()).collect();
    assert_eq!(names, ["fork", "left", "s", "in", "right", "and 970 more", "join", "last"]);
    let tops = |name: &str| drawn.nodes.iter().find(|n| n.reference_name == name).unwrap().at.1;
    assert!(["s", "right", "and 970 more"].iter().all(|name| tops(name) == tops("left")));
    assert!(tops("fork") < tops("left") && tops("in") < tops("join"));
    let svg = within(&drawn, "run", &|_| Mark { word: "queued".to_owned(), ..Mark::default() });
    assert!(svg.contains("class=\"node bad\"><title>and 970 more, branches, failed, fork</title>"));
    assert_eq!(svg.matches(", queued,").count(), 7);
}

#[test]
fn a_fork_that_data_names_inside_itself_is_drawn_once() {
    let inner = json!({"name": "s", "taskReferenceName": "s", "type": "SWITCH",
        "decisionCases": {"a": [fork("fork")]}, "defaultCase": []});
    let forks = Forks::from([("fork".to_owned(), opened(&[inner, fork("fork"), fork("other")]))]);
    let drawn = layout_of_run(&def(&[fork("fork")]), &forks);
    check_places(&drawn);
    assert_eq!(drawn.nodes.len(), 5);
}
