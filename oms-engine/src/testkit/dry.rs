//! A run that is decided in memory alone, for measuring what decisions cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::decide::{Event, Fate, Kind, Plan, RunState, TaskEnd, TaskStatus, decide};
use crate::definition::{Payload, WorkflowDef};
use crate::error::Error;
use crate::ids::WorkflowId;

/// A run without a database: each call is one decision. It follows one lineage: what the last
/// decision opened last is what ends next.
#[derive(Clone, Debug)]
pub struct DryRun {
    plan: Arc<Plan>,
    state: RunState,
    open: Option<Open>,
    opened: usize,
}

#[derive(Clone, Debug)]
struct Open {
    reference_name: Arc<str>,
    attempt: i16,
    input: Payload,
}

impl DryRun {
    /// Compiles the definition; nothing is decided yet.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`].
    pub fn new(definition: &WorkflowDef, input: Value) -> Result<Self, Error> {
        let plan = Plan::compile(1, definition.clone(), &BTreeMap::new())
            .map_err(|faults| Error::InvalidDefinition { faults })?;
        let (input, variables) = (Arc::new(input), Arc::new(Value::Object(Map::new())));
        let state = RunState::new(WorkflowId::new(), input, variables, None);
        Ok(Self { plan: Arc::new(plan), state, open: None, opened: 0 })
    }

    /// Says that this task, which data brings, has no definition; otherwise a decision asks for it.
    #[must_use]
    pub fn undefined(mut self, name: &str) -> Self {
        self.state.task_defs.insert(name.to_owned(), None);
        self
    }

    /// Decides the start.
    ///
    /// # Errors
    /// What the decision says, in words.
    pub fn start(&mut self) -> Result<(), String> {
        self.happen(&Event::Start)
    }

    /// Ends the open task with this output and decides what follows. False where none is open.
    ///
    /// # Errors
    /// What the decision says, in words.
    pub fn end(&mut self, output: Value) -> Result<bool, String> {
        let Some(open) = self.open.take() else { return Ok(false) };
        let end = TaskEnd {
            reference_name: open.reference_name,
            attempt: open.attempt,
            status: TaskStatus::Completed,
            input: Some(open.input),
            output: Some(output.into()),
            reason: None,
            retry_after: None,
            timeout: None,
            jitter: 0.0,
        };
        self.happen(&Event::Ended(end))?;
        Ok(true)
    }

    /// How many tasks of workers decisions have opened so far.
    #[must_use]
    pub const fn opened(&self) -> usize {
        self.opened
    }

    fn happen(&mut self, event: &Event) -> Result<(), String> {
        let decided = decide(&self.plan, &mut self.state, event);
        let decision = decided.map_err(|error| error.to_string())?;
        for task in decision.scheduled {
            if matches!(task.fate, Fate::Open(_)) && matches!(task.node.kind, Kind::Worker) {
                self.opened += 1;
                self.open = Some(Open {
                    reference_name: task.reference_name,
                    attempt: task.attempt,
                    input: task.input,
                });
            }
        }
        Ok(())
    }
}
