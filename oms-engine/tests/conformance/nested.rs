//! Cases of tasks in each other, as deep as they may be: too long to be written down.

use serde_json::{Map, Value, json};

use super::case::Case;

/// How many tasks stand in each other.
const DEEP: usize = 100;

/// Each kind alone, and all of them in turn.
pub(crate) fn cases() -> Vec<Case> {
    let kinds = ["DO_WHILE", "SWITCH", "FORK_JOIN", "SUB_WORKFLOW"];
    let alone = kinds.iter().map(|kind| case(&kind.to_lowercase(), &[kind]));
    alone.chain([case("mixed", &kinds), undone()]).collect()
}

/// The innermost of many forks is undone. What undoes it stands in it.
fn undone() -> Case {
    let mut made = Made::innermost(0);
    made.steps[0]["compensation"] = json!({"name": "t", "type": "SIMPLE"});
    for n in (0..DEEP - 2).rev() {
        made = made.within("FORK_JOIN", n, 0);
    }
    made = made.then("u", "SIMPLE", 0, (json!({}), json!({})));
    let failed = made.expected.last_mut().unwrap();
    failed["status"] = json!("FAILED_WITH_TERMINAL_ERROR");
    made.expected.push(task("t_undo", "t", 0, &json!({})));
    let case = json!({
        "name": "what_stands_in_ninety_eight_forks_is_undone",
        "rule": "compensation: what completed is undone when the run fails; branches side by side",
        "definition": {"name": "deep", "tasks": made.steps},
        "workers": {
            "t": [{"output": output()}],
            "u": [{"status": "FAILED_WITH_TERMINAL_ERROR", "reason": "no"}],
        },
        "expect": {"status": "FAILED", "tasks": made.expected},
    });
    serde_json::from_value(case).unwrap()
}

fn case(name: &str, kinds: &[&str]) -> Case {
    let of = |n: usize| kinds[n % kinds.len()];
    // How many loops a task stands in, in its own run.
    let loops = |n: usize| {
        let around = (0..n).rev().map(of).take_while(|kind| *kind != "SUB_WORKFLOW");
        around.filter(|kind| *kind == "DO_WHILE").count()
    };
    let innermost = turned("t", loops(DEEP - 1));
    let mut made = Made::innermost(loops(DEEP - 1));
    for n in (0..DEEP - 1).rev() {
        made = made.within(of(n), n, loops(n));
    }
    let case = json!({
        "name": format!("a_hundred_tasks_in_each_other_run_to_their_end_{name}"),
        "rule": "Scheduling: a task may hold any other, however deep; outputs of DO_WHILE, JOIN and \
                 SUB_WORKFLOW",
        "definition": {"name": "deep", "tasks": made.steps},
        "workers": {innermost: [{"output": output()}]},
        "expect": {"status": "COMPLETED", "output": made.run_output(), "tasks": made.expected},
        "children": made.children,
    });
    serde_json::from_value(case).unwrap()
}

/// What the innermost task gives.
fn output() -> Value {
    json!({"deep": {"er": [1]}})
}

/// The name of a task in the first turn of so many loops.
fn turned(name: &str, loops: usize) -> String {
    name.to_owned() + &"__1".repeat(loops)
}

/// A case in the making, from the innermost task outwards.
struct Made {
    /// The sequence that is made.
    steps: Vec<Value>,
    /// The tasks of its run that are expected, in their order.
    expected: Vec<Value>,
    /// What they give, less what stands in loops: the output of a turn of a loop around.
    turn: Map<String, Value>,
    /// The last step of the sequence.
    last: String,
    /// Runs that it starts, by the way to them.
    children: Map<String, Value>,
}

impl Made {
    fn innermost(loops: usize) -> Self {
        let none = Self {
            steps: vec![],
            expected: vec![],
            turn: Map::new(),
            last: String::new(),
            children: Map::new(),
        };
        none.then("t", "SIMPLE", loops, (json!({}), output()))
    }

    /// With a step behind all others.
    fn then(
        mut self,
        name: &str,
        kind: &str,
        loops: usize,
        (fields, output): (Value, Value),
    ) -> Self {
        self.steps.push(step(name, kind, fields));
        let shown = if kind == "SIMPLE" { "t" } else { kind };
        self.expected.push(task(name, shown, loops, &output));
        self.turn.insert(name.to_owned(), output);
        name.clone_into(&mut self.last);
        self
    }

    /// The output of the run that consists of it: that of the task scheduled last.
    fn run_output(&self) -> Value {
        self.expected.last().unwrap()["output"].clone()
    }

    /// In one more task, which stands in so many loops.
    fn within(self, kind: &str, n: usize, loops: usize) -> Self {
        let own = format!("{}{n}", kind.to_lowercase().replace('_', "-"));
        match kind {
            "DO_WHILE" => self.within_loop(&own, loops),
            "SWITCH" => self.within_switch(&own, n, loops),
            "FORK_JOIN" => self.within_fork(&own, n, loops),
            _ => self.within_run(&own, loops),
        }
    }

    fn within_loop(mut self, own: &str, loops: usize) -> Self {
        let output = json!({"1": self.turn, "iteration": 1});
        self.expected.insert(0, task(own, "DO_WHILE", loops, &output));
        let fields = json!({"loopCondition": "false", "loopOver": self.steps});
        let turn = Map::from_iter([(own.to_owned(), output)]);
        Self { steps: vec![step(own, "DO_WHILE", fields)], turn, last: own.to_owned(), ..self }
    }

    /// A NOOP behind it waits for what stands in its case; a JOIN would not.
    fn within_switch(mut self, own: &str, n: usize, loops: usize) -> Self {
        let output = json!({"evaluationResult": ["c"], "selectedCase": "c"});
        self.expected.insert(0, task(own, "SWITCH", loops, &output));
        self.turn.insert(own.to_owned(), output);
        let fields = json!({
            "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "c"},
            "decisionCases": {"c": self.steps},
        });
        self.steps = vec![step(own, "SWITCH", fields)];
        self.then(&format!("noop{n}"), "NOOP", loops, (json!({}), json!({})))
    }

    fn within_fork(mut self, own: &str, n: usize, loops: usize) -> Self {
        self.expected.insert(0, task(own, "FORK", loops, &json!({})));
        let last = self.turn[&self.last].clone();
        self.turn.insert(own.to_owned(), json!({}));
        let joined = match last.as_object().is_some_and(Map::is_empty) {
            true => json!({}),
            false => json!({turned(&self.last, loops): last}),
        };
        let join = json!({"joinOn": [self.last]});
        self.steps = vec![step(own, "FORK_JOIN", json!({"forkTasks": [self.steps]}))];
        let mut made = self.then(&format!("join{n}"), "JOIN", loops, (join, joined));
        // A JOIN is scheduled with its fork, before what follows the first tasks of its branches.
        let join = made.expected.pop().unwrap();
        let behind = made.expected.iter().rposition(|task| task["type"] != "NOOP").unwrap();
        made.expected.insert(behind + 1, join);
        made
    }

    fn within_run(self, own: &str, loops: usize) -> Self {
        let way = turned(own, loops);
        let below = self.children.iter().map(|(to, run)| (format!("{way}/{to}"), run.clone()));
        let mut children = Map::from_iter(below);
        children.insert(way.clone(), json!({"status": "COMPLETED", "tasks": self.expected}));
        let definition = json!({"name": own, "tasks": self.steps});
        let mut output = elsewhere(self.run_output());
        output["subWorkflowId"] = json!(format!("<childId:{way}>"));
        let mut task = task(own, "SUB_WORKFLOW", loops, &output);
        task["input"] = json!({
            "subWorkflowName": null, "subWorkflowVersion": null, "priority": null,
            "subWorkflowTaskToDomain": null, "subWorkflowDefinition": definition,
            "idempotencyKey": null, "idempotencyStrategy": null, "workflowInput": {},
        });
        let params = json!({"subWorkflowParam": {"workflowDefinition": definition}});
        Self {
            steps: vec![step(own, "SUB_WORKFLOW", params)],
            expected: vec![task],
            turn: Map::from_iter([(own.to_owned(), output)]),
            last: own.to_owned(),
            children,
        }
    }
}

fn step(name: &str, kind: &str, fields: Value) -> Value {
    let task_name = if kind == "SIMPLE" { "t" } else { "engine" };
    let mut step = json!({"name": task_name, "taskReferenceName": name, "type": kind});
    if let (Some(step), Value::Object(fields)) = (step.as_object_mut(), fields) {
        step.extend(fields);
    }
    step
}

fn task(name: &str, kind: &str, loops: usize, output: &Value) -> Value {
    json!({
        "ref": turned(name, loops), "type": kind, "status": "COMPLETED",
        "iteration": loops.min(1), "output": output,
    })
}

/// A run does not know the ids of those below its own.
fn elsewhere(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("<childId:") => json!("<any>"),
        Value::Array(list) => list.into_iter().map(elsewhere).collect(),
        Value::Object(map) => map.into_iter().map(|(key, of)| (key, elsewhere(of))).collect(),
        other => other,
    }
}
