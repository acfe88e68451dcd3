//! One step of a definition, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::graph::Parent;
use super::kind::{event_parameters, kind_of};
use super::retry::RetryPolicy;
use crate::definition::{
    Fault, Reads, Schema, TaskDef, TaskInput, TaskType, Template, TemplateFault, TimeoutPolicy,
    WorkflowTask,
};

/// The queue of tokens that engines take themselves.
pub(crate) const SYSTEM_QUEUE: &str = "$system";

/// The input of a `SUB_WORKFLOW` has the definition here that its run is started with.
pub(crate) const SUB_WORKFLOW_DEFINITION: &str = "subWorkflowDefinition";

/// What a switch goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SwitchOn {
    /// A key of its input.
    Value(String),
    /// A script.
    Script(String),
}

/// Where a dynamic fork's branches come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BranchesFrom {
    /// Two keys of the input: the steps, and their inputs by reference name.
    Steps { tasks: String, inputs: String },
    /// One key of the input, in the older form.
    Older(String),
    /// `forkTaskInputs`: one task for each element.
    Elements,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A worker runs it.
    Worker,
    /// A worker runs it, under the name that this key of its input holds.
    Dynamic(String),
    Switch {
        on: SwitchOn,
        cases: BTreeMap<String, Option<usize>>,
        default: Option<usize>,
    },
    /// The first steps of its branches. A JOIN follows.
    Fork {
        branches: Vec<usize>,
        /// Whether its JOIN may leave branches behind: these go on beside what follows.
        floats: bool,
    },
    DynamicFork(BranchesFrom),
    Join {
        on: Vec<String>,
        /// The fork before it, whose branches it waits for.
        fork: Option<usize>,
        /// Whether it waits for what it lists, and not for branches.
        by_list: bool,
    },
    ExclusiveJoin {
        on: Vec<String>,
        default: Vec<String>,
        /// Whether what it lists may be open when it is reached.
        by_list: bool,
    },
    Loop {
        condition: Option<String>,
        items: Option<Template>,
        body: Option<usize>,
    },
    /// Its parameters, with expressions, and a definition that is written out.
    SubWorkflow {
        params: Template,
        definition: Option<Arc<Value>>,
    },
    StartWorkflow,
    Wait,
    Human,
    Event,
    Inline,
    Lambda,
    Jq,
    SetVariable,
    Terminate,
    Noop,
}

impl Kind {
    /// Whether it waits for tasks inside it.
    pub(crate) const fn is_container(&self) -> bool {
        matches!(self, Self::Join { .. } | Self::Loop { .. })
    }

    /// Whether it waits for the tasks that it lists, wherever they are.
    pub(crate) const fn is_by_list(&self) -> bool {
        matches!(self, Self::Join { by_list: true, .. } | Self::ExclusiveJoin { by_list: true, .. })
    }

    /// Whether its attempts are made again by the retry policy.
    const fn is_retried(&self) -> bool {
        !matches!(
            self,
            Self::Switch { .. }
                | Self::Fork { .. }
                | Self::DynamicFork(_)
                | Self::Join { .. }
                | Self::ExclusiveJoin { .. }
                | Self::Loop { .. }
        )
    }

    /// Whether its input and its output are the task's own, so that schemas say something.
    const fn is_held_to_schemas(&self) -> bool {
        matches!(
            self,
            Self::Worker
                | Self::Dynamic(_)
                | Self::SubWorkflow { .. }
                | Self::StartWorkflow
                | Self::Wait
                | Self::Human
                | Self::Event
                | Self::Inline
                | Self::Lambda
                | Self::Jq
        )
    }

    /// Whether a worker, of the user's or of the engine's, takes it from a queue.
    pub(crate) const fn is_worker(&self) -> bool {
        matches!(self, Self::Worker | Self::Dynamic(_))
    }

    /// Whether a script may run in it, which takes time.
    pub(crate) const fn runs_script(&self) -> bool {
        matches!(
            self,
            Self::Switch { on: SwitchOn::Script(_), .. }
                | Self::Loop { condition: Some(_), .. }
                | Self::Inline
                | Self::Lambda
                | Self::Jq
        )
    }
}

/// One step of a definition.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the definition and of the plan")]
pub(crate) struct Node {
    pub(crate) index: usize,
    /// The last step inside it; its own index where there is none.
    pub(crate) end: usize,
    pub(crate) next: Option<usize>,
    pub(crate) parent: Parent,
    /// What undoes it.
    pub(crate) undo: Option<usize>,
    /// How many loops it stands in.
    pub(crate) loops: usize,
    /// Whether nothing else of its run is open while it is, other than the loops around it.
    pub(crate) sole: bool,
    pub(crate) kind: Kind,
    pub(crate) reference_name: Arc<str>,
    pub(crate) task_name: Arc<str>,
    /// What Conductor shows as `taskType`; of a worker's task also its queue.
    pub(crate) task_type: Arc<str>,
    /// What follows the type in the name of its queue: `[@namespace][-group]`.
    pub(crate) apart: Arc<str>,
    pub(crate) input: TaskInput,
    /// What its input and its own expressions read.
    pub(crate) reads: Reads,
    /// Whether the input must be stored with the token: it cannot be worked out again later.
    pub(crate) stores_input: bool,
    /// Whether its decision needs what only a fresh load has.
    pub(crate) fresh: bool,
    pub(crate) optional: bool,
    pub(crate) permissive: bool,
    pub(crate) async_complete: bool,
    pub(crate) start_delay_ms: i64,
    /// The step's own, before the task definition's.
    pub(crate) retry_count: Option<i32>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout_policy: TimeoutPolicy,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) response_timeout_ms: Option<i64>,
    pub(crate) poll_timeout_ms: Option<i64>,
    pub(crate) total_ms: Option<i64>,
    /// What its input, and what its output is held to.
    pub(crate) input_schema: Option<Schema>,
    pub(crate) output_schema: Option<Schema>,
    /// Names of secrets and values of the environment that a worker is handed with it.
    pub(crate) runtime_metadata: Arc<[String]>,
}

impl Node {
    /// Compiles a step; where it stands is filled in by the graph.
    pub(super) fn compile(task: &WorkflowTask, def: &TaskDef, path: &str) -> Result<Self, Fault> {
        let fault = |field: &str, fault: &TemplateFault| {
            Fault::new(format!("{path}.{field}"), fault.to_string())
        };
        let input = if task.task_type == TaskType::Event {
            TaskInput::parse(&event_parameters(task), &Map::new())
        } else {
            TaskInput::parse(&task.input_parameters, &def.input_template)
        };
        let input = input.map_err(|f| fault("inputParameters", &f))?;
        let kind = kind_of(task).map_err(|(field, f)| fault(field, &f))?;
        let mut reads = input.reads().clone();
        if let Kind::SubWorkflow { params: template, .. }
        | Kind::Loop { items: Some(template), .. } = &kind
        {
            reads.merge(template.reads());
        }
        let mut node = Self {
            index: 0,
            end: 0,
            next: None,
            parent: Parent::Root,
            undo: None,
            loops: 0,
            sole: true,
            reference_name: Arc::from(task.task_reference_name.as_str()),
            task_name: Arc::from(task.name.as_str()),
            task_type: Arc::from(task.queue_type()),
            apart: Arc::default(),
            stores_input: true,
            fresh: true,
            optional: task.optional,
            permissive: task.permissive,
            async_complete: task.async_complete,
            start_delay_ms: i64::from(task.start_delay).saturating_mul(1000),
            retry_count: task.retry_count,
            retry: RetryPolicy::of(task, def),
            timeout_policy: def.timeout_policy,
            timeout_ms: None,
            response_timeout_ms: None,
            poll_timeout_ms: None,
            total_ms: None,
            input_schema: None,
            output_schema: None,
            runtime_metadata: Arc::default(),
            kind,
            input,
            reads,
        };
        node.run_under(task, def);
        if matches!(node.kind, Kind::Dynamic(_)) {
            // It is held to the schemas of the task that it becomes.
            (node.input_schema, node.output_schema) = (None, None);
        }
        let held = node.input_schema.is_some() || node.output_schema.is_some();
        if held && !node.kind.is_held_to_schemas() {
            let message = format!(
                "task definition {:?} enforces a schema, and no {} is held to one: give the step \
                 another name, or set enforceSchema to false",
                def.name, task.task_type
            );
            return Err(Fault::new(format!("{path}.name"), message));
        }
        Ok(node)
    }

    /// Takes retries and times from a task definition.
    pub(super) fn run_under(&mut self, task: &WorkflowTask, def: &TaskDef) {
        let ms = |seconds: i64| (seconds > 0).then(|| seconds.saturating_mul(1000));
        self.retry = RetryPolicy::of(task, def);
        if !self.kind.is_retried() {
            self.retry.count = 0;
        }
        let part = |sign: &str, name: Option<&String>| {
            let name = name.filter(|name| !name.is_empty());
            name.map(|name| format!("{sign}{name}")).unwrap_or_default()
        };
        let space = part("@", def.execution_name_space.as_ref());
        self.apart = Arc::from(space + &part("-", def.isolation_group_id.as_ref()));
        self.timeout_policy = def.timeout_policy;
        self.timeout_ms = ms(def.timeout_seconds);
        self.response_timeout_ms = ms(def.response_timeout_seconds);
        self.poll_timeout_ms = ms(i64::from(def.poll_timeout_seconds.unwrap_or(0)));
        self.total_ms = ms(def.total_timeout_seconds);
        let schema = |schema| Schema::enforced(schema, def.enforce_schema);
        self.input_schema = schema(def.input_schema.as_ref());
        self.output_schema = schema(def.output_schema.as_ref());
        self.runtime_metadata = def.runtime_metadata.clone().into();
    }

    /// `responseTimeoutSeconds` of what waits for a word from outside: since it was opened or last
    /// told of. What says itself that it is ended from outside is not held to it, as in Conductor.
    pub(crate) fn silence_ms(&self) -> Option<i64> {
        let waits = matches!(self.kind, Kind::Wait | Kind::Human) && !self.async_complete;
        self.response_timeout_ms.filter(|_| waits)
    }

    /// Whether it undoes another.
    pub(crate) const fn undoes(&self) -> bool {
        matches!(self.parent, Parent::Undoes(_))
    }

    /// An input as it is shown: a definition that is written out is not kept with every task.
    pub(crate) fn shown(&self, mut input: Value) -> Value {
        if let Kind::SubWorkflow { definition: Some(definition), .. } = &self.kind
            && let Some(given @ Value::Null) = input.get_mut(SUB_WORKFLOW_DEFINITION)
        {
            *given = Value::clone(definition);
        }
        input
    }

    /// The queue its open task waits in, where its run has no domains.
    pub(crate) fn queue(&self) -> &str {
        if self.kind.is_worker() { &self.task_type } else { SYSTEM_QUEUE }
    }

    /// References that it reads beside what its expressions name.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = &String> {
        let (a, b): (&[String], &[String]) = match &self.kind {
            Kind::Join { on, fork: None, .. } => (on, &[]),
            Kind::ExclusiveJoin { on, default, .. } => (on, default),
            _ => (&[], &[]),
        };
        a.iter().chain(b)
    }
}
