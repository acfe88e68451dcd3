//! Definitions written in Rust.

mod steps;
mod task_def;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;

use super::faults::Faults;
use super::settings::WorkflowTimeoutPolicy;
use super::task_def::TaskDef;
use super::validate::validate_alone;
use super::workflow_def::WorkflowDef;
use super::workflow_task::WorkflowTask;

/// Builds a [`WorkflowDef`].
#[derive(Clone, Debug)]
#[must_use = "call build()"]
pub struct WorkflowDefBuilder {
    def: WorkflowDef,
}

impl WorkflowDef {
    /// Starts a definition; its version is 1 until said otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use oms_engine::definition::{WorkflowDef, WorkflowTask, WorkflowTimeoutPolicy};
    /// use serde_json::json;
    ///
    /// let order = WorkflowDef::builder("order")
    ///     .version(2)
    ///     .task(WorkflowTask::simple("pay", "pay_ref").input("amount", "${workflow.input.amount}"))
    ///     .output("receipt", "${pay_ref.output.receipt}")
    ///     .failure_workflow("order_unwinding")
    ///     .timeout(Duration::from_secs(3600), WorkflowTimeoutPolicy::TimeOutWorkflow)
    ///     .build()?;
    /// assert_eq!(order.tasks[0].input_parameters["amount"], json!("${workflow.input.amount}"));
    /// # Ok::<(), oms_engine::definition::Faults>(())
    /// ```
    pub fn builder(name: impl Into<String>) -> WorkflowDefBuilder {
        WorkflowDefBuilder { def: Self { name: name.into(), ..Self::default() } }
    }
}

impl WorkflowDefBuilder {
    /// Sets the version.
    pub fn version(mut self, version: i32) -> Self {
        self.def.version = version;
        self
    }

    /// Describes it for readers.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.def.description = Some(text.into());
        self
    }

    /// Appends a step.
    pub fn task(mut self, task: WorkflowTask) -> Self {
        self.def.tasks.push(task);
        self
    }

    /// Sets one key of the output; the value may hold expressions.
    pub fn output(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.def.output_parameters.insert(key.into(), value.into());
        self
    }

    /// Sets the input's default for one key.
    pub fn input_default(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.def.input_template.insert(key.into(), value.into());
        self
    }

    /// Sets one variable's value at the start.
    pub fn variable(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.def.variables.insert(key.into(), value.into());
        self
    }

    /// Names the workflow that is started when a run fails.
    pub fn failure_workflow(mut self, name: impl Into<String>) -> Self {
        self.def.failure_workflow = Some(name.into());
        self
    }

    /// Sets how long a run may take, in whole seconds rounded up, and what happens then.
    pub fn timeout(mut self, after: Duration, policy: WorkflowTimeoutPolicy) -> Self {
        self.def.timeout_seconds = seconds_i64(after);
        self.def.timeout_policy = policy;
        self
    }

    /// Refuses restarts of COMPLETED runs.
    pub fn not_restartable(mut self) -> Self {
        self.def.restartable = false;
        self
    }

    /// Checks and gives the definition. What depends on registered task definitions is checked
    /// again at registration.
    ///
    /// # Errors
    /// Every fault, as [`validate`](super::validate()) finds them.
    pub fn build(self) -> Result<WorkflowDef, Faults> {
        validate_alone(&self.def)?;
        Ok(self.def)
    }
}

impl WorkflowTask {
    /// A task that a worker runs.
    #[must_use]
    pub fn simple(name: impl Into<String>, reference_name: impl Into<String>) -> Self {
        Self { name: name.into(), task_reference_name: reference_name.into(), ..Self::default() }
    }

    /// Sets one key of the input; the value may hold expressions.
    #[must_use]
    pub fn input(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.input_parameters.insert(key.into(), value.into());
        self
    }

    /// Makes a failure `COMPLETED_WITH_ERRORS`, after which the flow goes on.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Lets the flow go on after a failure and the workflow fail at its end.
    #[must_use]
    pub fn permissive(mut self) -> Self {
        self.permissive = true;
        self
    }

    /// Sets the delay before the first attempt, in whole seconds rounded up.
    #[must_use]
    pub fn start_delay(mut self, delay: Duration) -> Self {
        self.start_delay = seconds_i32(delay);
        self
    }

    /// Sets the attempts after the first, over what the task definition says.
    #[must_use]
    pub fn retries(mut self, count: i32) -> Self {
        self.retry_count = Some(count);
        self
    }

    /// Names the task that undoes this one when the run fails after it. Its reference name may be
    /// left empty.
    ///
    /// ```
    /// use oms_engine::definition::WorkflowTask;
    ///
    /// let refund = WorkflowTask::simple("refund", "").input("receipt", "${pay.output.receipt}");
    /// let pay = WorkflowTask::simple("charge", "pay").undone_by(refund);
    /// assert_eq!(pay.compensation.unwrap().name, "refund");
    /// ```
    #[must_use]
    pub fn undone_by(mut self, undo: Self) -> Self {
        self.compensation = Some(Box::new(undo));
        self
    }

    /// Carries its task definition with it, instead of the registered one.
    #[must_use]
    pub fn definition(mut self, def: TaskDef) -> Self {
        self.task_definition = Some(Box::new(def));
        self
    }
}

fn seconds_i64(duration: Duration) -> i64 {
    let rounded_up = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i64::try_from(rounded_up).unwrap_or(i64::MAX)
}

fn seconds_i32(duration: Duration) -> i32 {
    i32::try_from(seconds_i64(duration)).unwrap_or(i32::MAX)
}
