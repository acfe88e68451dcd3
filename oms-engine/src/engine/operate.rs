//! What operators do to a run.

use serde_json::Value;

use super::start::check_key;
use super::{Engine, connection};
use crate::advance::{Acted, Action, Operation, Rerun, RerunFrom};
use crate::definition::{
    REASON_MAX_BYTES, TASK_PAYLOAD_MAX_BYTES, WORKFLOW_PAYLOAD_MAX_BYTES, check_payload,
};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};

/// How to restart a run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RestartOptions {
    /// On the latest version of its definition instead of the one it started with.
    pub use_latest_definitions: bool,
}

impl RestartOptions {
    /// On the latest version of the definition.
    #[must_use]
    pub const fn on_latest_definition() -> Self {
        Self { use_latest_definitions: true }
    }
}

/// How to retry a run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RetryOptions {
    /// Sub-workflows that ended badly go on where they ended, in place of new ones that begin
    /// anew: those of the run, those of these, and so on.
    pub resume_sub_workflows: bool,
}

impl RetryOptions {
    /// With the sub-workflows that ended badly.
    #[must_use]
    pub const fn resuming_sub_workflows() -> Self {
        Self { resume_sub_workflows: true }
    }
}

/// How to rerun a run. Names and meanings are those of Conductor's `RerunWorkflowRequest`.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RerunRequest {
    from: Option<RerunFrom>,
    task_input: Option<Value>,
    workflow_input: Option<Value>,
    correlation_id: Option<String>,
}

impl RerunRequest {
    /// All of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From a step on, by its reference name; in a loop with the turn (`pay__2`), or without for
    /// the last.
    pub fn from_step(reference_name: impl Into<String>) -> Self {
        Self { from: Some(RerunFrom::Step(reference_name.into())), ..Self::default() }
    }

    /// From a task on, which may be one of a sub-workflow at any depth: that is rerun then.
    pub fn from_task(task: TaskId) -> Self {
        Self { from: Some(RerunFrom::Task(task)), ..Self::default() }
    }

    /// What the task gets in place of its own input.
    pub fn task_input(mut self, input: Value) -> Self {
        self.task_input = Some(input);
        self
    }

    /// What takes the place of the run's input.
    pub fn workflow_input(mut self, input: Value) -> Self {
        self.workflow_input = Some(input);
        self
    }

    /// What takes the place of the run's correlation id.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }
}

impl Engine {
    /// Ends a run TERMINATED. Its open tasks are CANCELED, and the runs that its `SUB_WORKFLOW` tasks
    /// wait for end TERMINATED too; no failure workflow is started. A run that had ended FAILED or
    /// `TIMED_OUT` counts as terminated from then on; one that was terminated already stays as it is.
    /// What it did is not undone, and undoing that is under way stops.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has COMPLETED.
    pub async fn terminate(&self, id: WorkflowId, reason: &str) -> Result<(), Error> {
        self.terminate_run(id, reason, false).await
    }

    /// Ends a run TERMINATED as [`terminate`](Self::terminate) does, once the steps that completed
    /// are undone by the tasks that their `compensation` names. Until then it stays RUNNING and
    /// [`Execution::compensating`](crate::Execution::compensating) says so. A run that is being
    /// undone already stays as it is.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub async fn terminate_with_compensation(
        &self,
        id: WorkflowId,
        reason: &str,
    ) -> Result<(), Error> {
        self.terminate_run(id, reason, true).await
    }

    async fn terminate_run(
        &self,
        id: WorkflowId,
        reason: &str,
        compensate: bool,
    ) -> Result<(), Error> {
        if reason.contains('\0') {
            return Err(Error::invalid("reason", "has a NUL character"));
        }
        if reason.len() > REASON_MAX_BYTES {
            let length = reason.len();
            let why = format!("has {length} bytes, at most {REASON_MAX_BYTES}");
            return Err(Error::invalid("reason", why));
        }
        self.operate(id, Operation::Terminate { reason: reason.to_owned(), compensate }).await
    }

    /// Schedules nothing more of a run until [`resume`](Self::resume). Tasks that are scheduled
    /// already may still be handed out and completed. A paused run stays as it is.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has ended.
    pub async fn pause(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Pause).await
    }

    /// Goes on with a paused run. Its time-out counts anew.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it is not paused.
    pub async fn resume(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Resume).await
    }

    /// Goes on with a run that ended unsuccessfully: each step that failed or was canceled gets
    /// another attempt.
    ///
    /// Where it is itself a sub-workflow, its parents go on too, up to the first that has not
    /// ended or whose step has started another run since.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or nothing of it
    /// can be retried.
    pub async fn retry(&self, id: WorkflowId, options: RetryOptions) -> Result<(), Error> {
        self.operate(id, Operation::Retry { resumes: options.resume_sub_workflows }).await
    }

    /// Runs an ended run again from its first step, under the same id and with the same input.
    /// Its parents go on, as with [`retry`](Self::retry).
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or has COMPLETED
    /// and its definition is not restartable.
    pub async fn restart(&self, id: WorkflowId, options: RestartOptions) -> Result<(), Error> {
        let use_latest_definitions = options.use_latest_definitions;
        self.operate(id, Operation::Restart { use_latest_definitions }).await
    }

    /// Runs an ended run again, under the same id: all of it, or from a task on. What was scheduled
    /// before that task, and beside it in other branches of forks, stays and is not run again,
    /// unless it had failed. Its parents go on, as with [`retry`](Self::retry).
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or has no such
    /// task; [`Error::InvalidInput`] for an input that is no object or too large.
    pub async fn rerun(&self, id: WorkflowId, request: RerunRequest) -> Result<(), Error> {
        if let Some(input) = &request.workflow_input {
            check_input("workflow input", input, WORKFLOW_PAYLOAD_MAX_BYTES)?;
        }
        if let Some(input) = &request.task_input {
            check_input("task input", input, TASK_PAYLOAD_MAX_BYTES)?;
            if request.from.is_none() {
                return Err(Error::invalid("task input", "is given without a task"));
            }
        }
        check_key("correlation id", request.correlation_id.as_deref())?;
        let own = match &request.from {
            Some(RerunFrom::Task(task)) => task.workflow_id,
            _ => id,
        };
        let rerun = Rerun {
            from: request.from,
            task_input: request.task_input,
            input: request.workflow_input,
            correlation_id: request.correlation_id,
            top: (own != id).then_some(id),
        };
        self.operate(own, Operation::Rerun(rerun)).await
    }

    /// Sets variables of a run that has not ended; others stay as they are.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has ended;
    /// [`Error::InvalidInput`] for what is no object, or variables too large.
    pub async fn set_variables(&self, id: WorkflowId, variables: Value) -> Result<(), Error> {
        match variables {
            Value::Object(variables) => {
                let append = false;
                self.operate(id, Operation::SetVariables { variables, append }).await
            }
            _ => Err(Error::invalid("variables", "is no JSON object")),
        }
    }

    /// Makes tasks of a run ready that wait for a delay before a worker gets them: a retry's, a
    /// `startDelay`, or what a worker asked for.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has ended.
    pub async fn reset_callbacks(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::ResetCallbacks).await
    }

    /// Has a running run pass a step that was not scheduled yet: it is listed as SKIPPED with
    /// this input and output. In a loop the name carries its turn (`pay__2`).
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when the run is not RUNNING, or the step
    /// is not in its definition or was scheduled already; [`Error::InvalidInput`].
    pub async fn skip(
        &self,
        id: WorkflowId,
        reference_name: &str,
        input: Value,
        output: Value,
    ) -> Result<(), Error> {
        check_input("input", &input, TASK_PAYLOAD_MAX_BYTES)?;
        check_input("output", &output, TASK_PAYLOAD_MAX_BYTES)?;
        let reference_name = reference_name.to_owned();
        self.operate(id, Operation::Skip { reference_name, input, output }).await
    }

    /// Sets the priority of a run that has not ended, and of its tasks: 0 to 99.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has
    /// ended.
    pub async fn set_priority(&self, id: WorkflowId, priority: i32) -> Result<(), Error> {
        match i16::try_from(priority) {
            Ok(priority @ 0..=99) => self.operate(id, Operation::SetPriority(priority)).await,
            _ => Err(Error::invalid("priority", format!("{priority} is not within 0 to 99"))),
        }
    }

    /// Removes an ended run with its history and its tasks' logs. Its idempotency key is free again.
    /// Sub-workflows of it stay, and are removed by themselves.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or is a sub-workflow of
    /// one that has not.
    pub async fn remove(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Remove).await
    }

    async fn operate(&self, id: WorkflowId, operation: Operation) -> Result<(), Error> {
        let shared = self.inner.shared.clone();
        let pool = self.inner.pool.clone();
        let engine = self.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let named = match &operation {
                Operation::Rerun(rerun) => rerun.from.as_ref().map(RerunFrom::reference_name),
                Operation::Skip { reference_name, .. } => Some(reference_name.as_str()),
                _ => None,
            };
            let (by, action) =
                (engine.by(id, operation.verb(), named), Action::Operate(id, &operation));
            let done = shared.core.act(client.client()?, &action, by).await;
            let acted = client.settle(done)?;
            engine.tell(acted).await;
            Ok(())
        })
        .await
    }

    /// Tells the pumps, the timer and other processes what was done.
    pub(super) async fn tell(&self, acted: Acted) {
        self.inner.shared.tell(acted).await;
    }
}

fn check_input(what: &str, value: &Value, limit: usize) -> Result<(), Error> {
    if !value.is_object() {
        return Err(Error::invalid(what, "is no JSON object"));
    }
    check_payload(what, value, limit)
        .map_err(|fault| Error::invalid(format!("{} {}", fault.what, fault.path), fault.reason))
}
