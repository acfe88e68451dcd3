//! A definition compiled for deciding: once per definition id, then shared.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::retry::RetryPolicy;
use crate::definition::{
    Fault, Faults, Reads, TaskDef, TaskInput, Template, TimeoutPolicy, WorkflowDef,
    WorkflowTimeoutPolicy,
};

/// Fields of a task that only its history row tells: a node that reads one decides on a fresh
/// load, never from memory.
const FIELDS_OF_HISTORY: [&str; 5] =
    ["pollCount", "scheduledTime", "startTime", "endTime", "workerId"];

/// Fields of the workflow that cannot change between the scheduling of a task and a rescue.
const FIXED_FIELDS: [&str; 8] = [
    "input",
    "workflowId",
    "parentWorkflowId",
    "parentWorkflowTaskId",
    "workflowType",
    "version",
    "correlationId",
    "schemaVersion",
];

/// One step of a definition.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the definition and of the plan")]
pub(crate) struct Node {
    pub(crate) reference_name: Arc<str>,
    pub(crate) task_name: Arc<str>,
    /// The queue, and what Conductor shows as `taskType`.
    pub(crate) queue: Arc<str>,
    pub(crate) input: TaskInput,
    /// Whether the input must be stored with the token: it cannot be worked out again later.
    pub(crate) stores_input: bool,
    /// Whether its decision needs what only a fresh load has.
    pub(crate) fresh: bool,
    pub(crate) optional: bool,
    pub(crate) permissive: bool,
    pub(crate) start_delay_ms: i64,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout_policy: TimeoutPolicy,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) response_timeout_ms: Option<i64>,
    pub(crate) poll_timeout_ms: Option<i64>,
    pub(crate) total_ms: Option<i64>,
}

/// A definition with the task definitions it names, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) definition_id: i64,
    pub(crate) def: Arc<WorkflowDef>,
    pub(crate) name: Arc<str>,
    pub(crate) nodes: Vec<Arc<Node>>,
    by_reference: BTreeMap<Arc<str>, usize>,
    /// None: the last task's output.
    pub(crate) output: Option<Template>,
    pub(crate) output_fresh: bool,
    pub(crate) variables: Arc<Value>,
    pub(crate) timeout_ms: Option<i64>,
    /// Whether anything reads the input of a task.
    pub(crate) reads_task_inputs: bool,
    lifetimes: Lifetimes,
}

/// How long memory keeps what a step gave, so that a long run's state does not grow with it.
#[derive(Clone, Debug, Default)]
struct Lifetimes {
    /// By step: whether something reads its input, and its output.
    payloads: Vec<(bool, bool)>,
    /// By step: the steps that nothing after it reads.
    released: Vec<Vec<usize>>,
}

impl Plan {
    /// Compiles a definition that was validated.
    pub(crate) fn compile(
        definition_id: i64,
        def: WorkflowDef,
        task_defs: &BTreeMap<String, TaskDef>,
    ) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut nodes = Vec::with_capacity(def.tasks.len());
        let mut by_reference = BTreeMap::new();
        let mut reads = Reads::default();
        for (index, task) in def.tasks.iter().enumerate() {
            let task_def = task.effective_task_def(task_defs);
            match TaskInput::parse(&task.input_parameters, &task_def.input_template) {
                Ok(input) => {
                    reads.merge(input.reads());
                    let node = Node::compile(task, &task_def, input);
                    by_reference.insert(node.reference_name.clone(), index);
                    nodes.push(Arc::new(node));
                }
                Err(fault) => faults.push(Fault::new(
                    format!("$.tasks[{index}].inputParameters"),
                    fault.to_string(),
                )),
            }
        }
        let output = match output_template(&def.output_parameters) {
            Ok(output) => output,
            Err(fault) => {
                faults.push(Fault::new("$.outputParameters", fault.to_string()));
                None
            }
        };
        if nodes.is_empty() && faults.is_empty() {
            faults.push(Fault::new("$.tasks", "is empty: a workflow needs at least one task"));
        }
        Faults::check(
            format!("workflow definition {:?} version {}", def.name, def.version),
            faults,
        )?;
        if let Some(output) = &output {
            reads.merge(output.reads());
        }
        let timed = def.timeout_seconds > 0;
        let lifetimes = Lifetimes::of(&nodes, &by_reference, output.as_ref());
        Ok(Self {
            lifetimes,
            definition_id,
            name: Arc::from(def.name.as_str()),
            nodes,
            by_reference,
            output_fresh: output.as_ref().is_some_and(|o| reads_history(o.reads())),
            output,
            variables: Arc::new(Value::Object(def.variables.clone())),
            timeout_ms: timed.then(|| def.timeout_seconds.saturating_mul(1000)),
            reads_task_inputs: reads.dynamic || reads.tasks.values().any(|f| f.contains("input")),
            def: Arc::new(def),
        })
    }

    /// Whether anything reads the input, and the output, of a step that has ended.
    pub(super) fn payloads_read(&self, index: usize) -> (bool, bool) {
        self.lifetimes.payloads.get(index).copied().unwrap_or((true, true))
    }

    /// The steps that nothing reads once these have been passed.
    pub(super) fn released(&self, passed: Range<usize>) -> impl Iterator<Item = &Arc<Node>> {
        let released = self.lifetimes.released.get(passed).unwrap_or_default();
        released.iter().flatten().filter_map(|index| self.nodes.get(*index))
    }

    pub(crate) fn index_of(&self, reference_name: &str) -> Option<usize> {
        self.by_reference.get(reference_name).copied()
    }

    pub(crate) fn node(&self, reference_name: &str) -> Option<&Arc<Node>> {
        self.index_of(reference_name).and_then(|index| self.nodes.get(index))
    }

    pub(crate) fn has_failure_workflow(&self) -> bool {
        self.def.failure_workflow.as_deref().is_some_and(|name| !name.is_empty())
    }

    pub(crate) fn times_out(&self) -> bool {
        self.def.timeout_policy == WorkflowTimeoutPolicy::TimeOutWorkflow
    }

    /// Whether what follows `reference_name` reads what only a fresh load has.
    ///
    /// Any step may end the run, by a failure, so an output that needs a fresh load makes every
    /// step need one.
    pub(crate) fn fresh_after(&self, reference_name: &str) -> bool {
        let next = self.index_of(reference_name).and_then(|index| self.nodes.get(index + 1));
        self.output_fresh || next.is_some_and(|next| next.fresh)
    }
}

impl Lifetimes {
    fn of(
        nodes: &[Arc<Node>],
        by_reference: &BTreeMap<Arc<str>, usize>,
        output: Option<&Template>,
    ) -> Self {
        let mut payloads = vec![(false, false); nodes.len()];
        // Of a permissive step the end of the run asks how it ended.
        let asked = |node: &Node| if node.permissive { nodes.len() } else { 0 };
        let mut last: Vec<usize> =
            nodes.iter().enumerate().map(|(index, node)| index.max(asked(node))).collect();
        let readers = nodes.iter().map(|node| node.input.reads()).enumerate();
        for (reader, reads) in readers.chain(output.map(|output| (nodes.len(), output.reads()))) {
            if reads.dynamic {
                payloads.fill((true, true));
                last.iter_mut().for_each(|last| *last = reader.max(*last));
            }
            for (reference_name, fields) in &reads.tasks {
                let Some(index) = by_reference.get(reference_name.as_str()) else { continue };
                if let (Some(last), Some(read)) = (last.get_mut(*index), payloads.get_mut(*index)) {
                    *last = reader.max(*last);
                    *read =
                        (read.0 || fields.contains("input"), read.1 || fields.contains("output"));
                }
            }
        }
        if let (None, Some(last)) = (output, payloads.last_mut()) {
            last.1 = true;
        }
        let mut released = vec![Vec::new(); nodes.len()];
        for (index, last) in last.into_iter().enumerate() {
            if let Some(released) = released.get_mut(last) {
                released.push(index);
            }
        }
        Self { payloads, released }
    }
}

impl Node {
    fn compile(task: &crate::definition::WorkflowTask, def: &TaskDef, input: TaskInput) -> Self {
        let ms = |seconds: i64| (seconds > 0).then(|| seconds.saturating_mul(1000));
        let reads = input.reads();
        Self {
            reference_name: Arc::from(task.task_reference_name.as_str()),
            task_name: Arc::from(task.name.as_str()),
            queue: Arc::from(task.queue_type()),
            stores_input: stores_input(reads),
            fresh: reads_history(reads),
            optional: task.optional,
            permissive: task.permissive,
            start_delay_ms: i64::from(task.start_delay).saturating_mul(1000),
            retry: RetryPolicy::of(task, def),
            timeout_policy: def.timeout_policy,
            timeout_ms: ms(def.timeout_seconds),
            response_timeout_ms: ms(def.response_timeout_seconds),
            poll_timeout_ms: ms(i64::from(def.poll_timeout_seconds.unwrap_or(0))),
            total_ms: ms(def.total_timeout_seconds),
            input,
        }
    }
}

fn output_template(
    parameters: &Map<String, Value>,
) -> Result<Option<Template>, crate::definition::TemplateFault> {
    if parameters.is_empty() {
        return Ok(None);
    }
    Template::parse(&Value::Object(parameters.clone())).map(Some)
}

fn reads_history(reads: &Reads) -> bool {
    reads.dynamic
        || reads.tasks.values().any(|f| FIELDS_OF_HISTORY.iter().any(|field| f.contains(field)))
}

fn stores_input(reads: &Reads) -> bool {
    reads.dynamic
        || reads.workflow.all
        || reads.workflow.named.iter().any(|field| !FIXED_FIELDS.contains(&field.as_str()))
}
