//! A definition compiled for deciding: once per definition id, then shared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::graph::Graph;
use super::node::{Kind, Node};
use super::reads::{Lifetimes, mark};
use crate::definition::{
    Fault, Faults, Reads, Schema, TaskDef, Template, TemplateFault, WorkflowDef, WorkflowTask,
    WorkflowTimeoutPolicy, with_room_for,
};

/// Fields of a task that only its history row tells: a node that reads one decides on a fresh
/// load, never from memory.
const FIELDS_OF_HISTORY: [&str; 5] =
    ["pollCount", "scheduledTime", "startTime", "endTime", "workerId"];

/// A definition with the task definitions it names, compiled.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts about the definition")]
pub(crate) struct Plan {
    pub(crate) definition_id: i64,
    pub(crate) def: Arc<WorkflowDef>,
    pub(crate) name: Arc<str>,
    pub(crate) graph: Graph,
    /// None: the last task's output.
    pub(crate) output: Option<Template>,
    pub(crate) output_fresh: bool,
    /// What the run's input, and what its output is held to.
    pub(crate) input_schema: Option<Schema>,
    pub(crate) output_schema: Option<Schema>,
    pub(crate) variables: Arc<Value>,
    /// What `${workflow.env.…}` reads: the same for all definitions of an engine.
    pub(crate) env: Arc<Map<String, Value>>,
    pub(crate) timeout_ms: Option<i64>,
    /// Whether anything reads the input of a task.
    pub(crate) reads_task_inputs: bool,
    /// Whether a step may run a script, which takes time.
    pub(crate) runs_scripts: bool,
    /// Whether it has loops, whose turns history has in rows of their own.
    pub(crate) has_loops: bool,
    /// Whether more than one task can be open.
    pub(crate) forks: bool,
    /// Whether something of a run may have to be undone: a step that says by what, or one that
    /// data brings.
    pub(crate) may_undo: bool,
    /// The definition's steps that workers run, by reference name: they are handed out with them.
    pub(crate) worker_steps: BTreeMap<Arc<str>, Arc<WorkflowTask>>,
    /// Reference names that something reads, or that the end of the run asks for.
    pub(crate) needed: BTreeSet<Arc<str>>,
    lifetimes: Lifetimes,
}

fn worker_steps(def: &WorkflowDef, graph: &Graph) -> BTreeMap<Arc<str>, Arc<WorkflowTask>> {
    let steps = def.all_tasks().into_iter();
    let of = |step: &WorkflowTask| {
        let node = graph.get(graph.index_of(&step.task_reference_name)?)?;
        node.kind.is_worker().then(|| (node.reference_name.clone(), Arc::new(step.clone())))
    };
    steps.filter_map(of).collect()
}

impl Plan {
    /// Compiles a definition that was validated.
    pub(crate) fn compile(
        definition_id: i64,
        def: impl Into<Arc<WorkflowDef>>,
        task_defs: &BTreeMap<String, TaskDef>,
    ) -> Result<Self, Faults> {
        let def = def.into();
        let compiled =
            with_room_for(&def.tasks, || Self::compile_all(definition_id, &def, task_defs));
        compiled.unwrap_or_else(|fault| Err(Faults::one(def.subject(), fault)))
    }

    fn compile_all(
        definition_id: i64,
        def: &Arc<WorkflowDef>,
        task_defs: &BTreeMap<String, TaskDef>,
    ) -> Result<Self, Faults> {
        let (mut graph, mut faults) = Graph::compile(&def.tasks, task_defs, 0, false);
        let output = match output_template(&def.output_parameters) {
            Ok(output) => output,
            Err(fault) => {
                faults.push(Fault::new("$.outputParameters", fault.to_string()));
                None
            }
        };
        if graph.nodes.is_empty() && faults.is_empty() {
            faults.push(Fault::new("$.tasks", "is empty: a workflow needs at least one task"));
        }
        Faults::check(def.subject(), faults)?;
        mark(&mut graph);
        let lifetimes = Lifetimes::of(&graph, output.as_ref());
        let mut reads = Reads::default();
        for node in &graph.nodes {
            reads.merge(&node.reads);
        }
        if let Some(output) = &output {
            reads.merge(output.reads());
        }
        let timed = def.timeout_seconds > 0;
        let any = |is: fn(&Kind) -> bool| graph.nodes.iter().any(|node| is(&node.kind));
        Ok(Self {
            definition_id,
            name: Arc::from(def.name.as_str()),
            output_fresh: output.as_ref().is_some_and(|o| reads_history(o.reads())),
            output,
            input_schema: Schema::enforced(def.input_schema.as_ref(), def.enforce_schema),
            output_schema: Schema::enforced(def.output_schema.as_ref(), def.enforce_schema),
            variables: Arc::new(Value::Object(def.variables.clone())),
            env: Arc::default(),
            timeout_ms: timed.then(|| def.timeout_seconds.saturating_mul(1000)),
            reads_task_inputs: reads.dynamic || reads.tasks.values().any(|f| f.contains("input")),
            runs_scripts: any(Kind::runs_script),
            has_loops: any(|kind| matches!(kind, Kind::Loop { .. })),
            forks: any(|kind| matches!(kind, Kind::Fork { .. } | Kind::DynamicFork(_))),
            may_undo: any(|kind| matches!(kind, Kind::DynamicFork(_)))
                || graph.undoable().next().is_some(),
            worker_steps: worker_steps(def, &graph),
            needed: lifetimes.needed(&graph),
            lifetimes,
            graph,
            def: def.clone(),
        })
    }

    /// With what expressions read of the engine.
    pub(crate) fn with_env(mut self, env: Arc<Map<String, Value>>) -> Self {
        self.env = env;
        self
    }

    /// Whether anything reads the input, and the output, of a step that has ended.
    pub(super) fn payloads_read(&self, node: &Node) -> (bool, bool) {
        self.lifetimes.payloads(node)
    }

    /// The steps that nothing reads once these have been passed.
    pub(super) fn released(&self, passed: Range<usize>) -> impl Iterator<Item = &Arc<Node>> {
        self.lifetimes.released(passed).filter_map(|index| self.graph.get(index))
    }

    /// The step of a reference name, with or without the turns of its loops.
    pub(crate) fn node(&self, instance: &str) -> Option<&Arc<Node>> {
        match self.graph.index_of(instance) {
            Some(index) => self.graph.get(index),
            None => self.graph.find(instance).map(|(node, _)| node),
        }
    }

    pub(crate) fn has_failure_workflow(&self) -> bool {
        self.def.failure_workflow.as_deref().is_some_and(|name| !name.is_empty())
    }

    pub(crate) fn times_out(&self) -> bool {
        self.def.timeout_policy == WorkflowTimeoutPolicy::TimeOutWorkflow
    }
}

fn output_template(parameters: &Map<String, Value>) -> Result<Option<Template>, TemplateFault> {
    if parameters.is_empty() {
        return Ok(None);
    }
    Template::parse(&Value::Object(parameters.clone())).map(Some)
}

pub(super) fn reads_history(reads: &Reads) -> bool {
    reads.dynamic
        || reads.tasks.values().any(|f| FIELDS_OF_HISTORY.iter().any(|field| f.contains(field)))
}
