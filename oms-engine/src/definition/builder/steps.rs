//! A constructor for each type of step.
//!
//! Values may hold expressions. Where a type's own name means nothing, a step is named as its
//! reference.

use std::time::Duration;

use serde_json::{Value, json};

use super::seconds_i64;
use crate::definition::settings::Termination;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::{SubWorkflowParams, WorkflowTask};

/// The input's key that a switch goes by.
const CASE: &str = "switchCaseValue";

fn step(task_type: TaskType, reference_name: impl Into<String>) -> WorkflowTask {
    let reference_name = reference_name.into();
    WorkflowTask {
        name: reference_name.clone(),
        task_reference_name: reference_name,
        task_type,
        ..WorkflowTask::default()
    }
}

fn names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

/// One constructor for each type; [`simple`](Self::simple) makes a worker's.
///
/// ```
/// use std::time::Duration;
/// use oms_engine::definition::{Termination, WorkflowDef, WorkflowTask as Step};
///
/// let order = WorkflowDef::builder("order")
///     .task(Step::fork("checks", [
///         vec![Step::simple("check_stock", "stock")],
///         vec![Step::simple("check_credit", "credit")],
///     ]))
///     .task(Step::join("checked", ["stock", "credit"]))
///     .task(
///         Step::switch("decide", "${credit.output.verdict}")
///             .case("GOOD", [Step::simple("ship", "ship")])
///             .case("ASK", [Step::human("ask").input("who", "${workflow.input.customer}")])
///             .default_case([Step::terminate("refuse", Termination::Failed, "no credit")]),
///     )
///     .task(Step::set_variable("note", "state", "shipped"))
///     .task(Step::wait_for("cool_off", Duration::from_secs(3600)))
///     .task(Step::sub_workflow("bill", "billing").input("order", "${workflow.input.id}"))
///     .build()?;
/// assert_eq!(order.tasks[2].decision_cases["GOOD"][0].name, "ship");
/// # Ok::<(), oms_engine::definition::Faults>(())
/// ```
impl WorkflowTask {
    /// A worker's task whose name the value gives when it is scheduled (DYNAMIC).
    #[must_use]
    pub fn dynamic(reference_name: impl Into<String>, task_name: impl Into<Value>) -> Self {
        let key = "taskToExecute";
        let task = step(TaskType::Dynamic, reference_name).input(key, task_name);
        Self { dynamic_task_name_param: Some(key.to_owned()), ..task }
    }

    /// Goes one of several ways, by a value (SWITCH): add [`case`](Self::case)s.
    #[must_use]
    pub fn switch(reference_name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            evaluator_type: Some("value-param".to_owned()),
            expression: Some(CASE.to_owned()),
            ..step(TaskType::Switch, reference_name).input(CASE, value)
        }
    }

    /// Goes one of several ways, by a JavaScript expression over its input, which is `$`.
    ///
    /// Needs the feature `js`.
    #[must_use]
    pub fn switch_script(reference_name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self {
            evaluator_type: Some("javascript".to_owned()),
            expression: Some(expression.into()),
            ..step(TaskType::Switch, reference_name)
        }
    }

    /// Sets the steps of one case of a switch.
    #[must_use]
    pub fn case(mut self, value: impl Into<String>, steps: impl IntoIterator<Item = Self>) -> Self {
        self.decision_cases.insert(value.into(), steps.into_iter().collect());
        self
    }

    /// Sets the steps of all other cases of a switch.
    #[must_use]
    pub fn default_case(mut self, steps: impl IntoIterator<Item = Self>) -> Self {
        self.default_case = steps.into_iter().collect();
        self
    }

    /// Goes several ways at once (`FORK_JOIN`); a [`join`](Self::join) follows.
    #[must_use]
    pub fn fork(
        reference_name: impl Into<String>,
        branches: impl IntoIterator<Item = Vec<Self>>,
    ) -> Self {
        let fork_tasks = branches.into_iter().collect();
        Self { fork_tasks, ..step(TaskType::ForkJoin, reference_name) }
    }

    /// Waits for these steps: the last of each branch, and others before them.
    #[must_use]
    pub fn join<N: Into<String>>(
        reference_name: impl Into<String>,
        on: impl IntoIterator<Item = N>,
    ) -> Self {
        Self { join_on: names(on), ..step(TaskType::Join, reference_name) }
    }

    /// Gives the output of the first of these steps that has run (`EXCLUSIVE_JOIN`), else that of
    /// the first of `otherwise`.
    #[must_use]
    pub fn exclusive_join<N: Into<String>>(
        reference_name: impl Into<String>,
        on: impl IntoIterator<Item = N>,
        otherwise: impl IntoIterator<Item = N>,
    ) -> Self {
        Self {
            join_on: names(on),
            default_exclusive_join_task: names(otherwise),
            ..step(TaskType::ExclusiveJoin, reference_name)
        }
    }

    /// Goes as many ways as data says (`FORK_JOIN_DYNAMIC`); a [`join`](Self::join) on nothing
    /// follows. `steps` comes to a list of steps, `inputs` to an object of their inputs by
    /// reference name.
    #[must_use]
    pub fn dynamic_fork(
        reference_name: impl Into<String>,
        steps: impl Into<Value>,
        inputs: impl Into<Value>,
    ) -> Self {
        let (tasks, of_each) = ("dynamicTasks", "dynamicTasksInput");
        Self {
            dynamic_fork_tasks_param: Some(tasks.to_owned()),
            dynamic_fork_tasks_input_param_name: Some(of_each.to_owned()),
            ..step(TaskType::ForkJoinDynamic, reference_name)
                .input(tasks, steps)
                .input(of_each, inputs)
        }
    }

    /// Runs one task for each element of a list, all at once (`FORK_JOIN_DYNAMIC`); a
    /// [`join`](Self::join) on nothing follows.
    #[must_use]
    pub fn fork_each(
        reference_name: impl Into<String>,
        task_name: impl Into<Value>,
        inputs: impl Into<Value>,
    ) -> Self {
        step(TaskType::ForkJoinDynamic, reference_name)
            .input("forkTaskName", task_name)
            .input("forkTaskInputs", inputs)
    }

    /// Does its steps, and again while a JavaScript condition holds (`DO_WHILE`): its input and
    /// the outputs of the last turn are `$`.
    ///
    /// Needs the feature `js`.
    ///
    /// ```
    /// use oms_engine::definition::WorkflowTask as Step;
    ///
    /// let ask = Step::do_while("ask", "$.poll['done'] != true && $.ask['iteration'] < 10", [
    ///     Step::simple("poll", "poll"),
    /// ]);
    /// assert_eq!(ask.loop_over.len(), 1);
    /// ```
    #[must_use]
    pub fn do_while(
        reference_name: impl Into<String>,
        condition: impl Into<String>,
        steps: impl IntoIterator<Item = Self>,
    ) -> Self {
        Self {
            loop_condition: Some(condition.into()),
            loop_over: steps.into_iter().collect(),
            ..step(TaskType::DoWhile, reference_name)
        }
    }

    /// Does its steps for each element of a list, one after the other (`DO_WHILE`): the element is
    /// `${ref.output.loopItem}`.
    #[must_use]
    pub fn for_each(
        reference_name: impl Into<String>,
        items: impl Into<String>,
        steps: impl IntoIterator<Item = Self>,
    ) -> Self {
        Self {
            items: Some(items.into()),
            loop_over: steps.into_iter().collect(),
            ..step(TaskType::DoWhile, reference_name)
        }
    }

    /// Runs another workflow and waits for it; its input is the step's.
    #[must_use]
    pub fn sub_workflow(reference_name: impl Into<String>, workflow: impl Into<String>) -> Self {
        let params =
            SubWorkflowParams { name: Some(workflow.into()), ..SubWorkflowParams::default() };
        Self { sub_workflow_param: Some(params), ..step(TaskType::SubWorkflow, reference_name) }
    }

    /// Runs a workflow that is written out here and waits for it; its input is the step's.
    #[must_use]
    pub fn sub_workflow_inline(reference_name: impl Into<String>, workflow: &WorkflowDef) -> Self {
        let params = SubWorkflowParams {
            name: Some(workflow.name.clone()),
            workflow_definition: Some(json!(workflow)),
            ..SubWorkflowParams::default()
        };
        Self { sub_workflow_param: Some(params), ..step(TaskType::SubWorkflow, reference_name) }
    }

    /// Sets the version of a sub-workflow; the latest without it.
    #[must_use]
    pub fn sub_workflow_version(mut self, version: i32) -> Self {
        self.sub_workflow_param.get_or_insert_default().version = Some(version);
        self
    }

    /// Starts another workflow with this input and does not wait for it.
    #[must_use]
    pub fn start_workflow(
        reference_name: impl Into<String>,
        workflow: impl Into<String>,
        input: impl Into<Value>,
    ) -> Self {
        let request = json!({ "name": workflow.into(), "input": input.into() });
        step(TaskType::StartWorkflow, reference_name).input("startWorkflow", request)
    }

    /// Waits for a time, in whole seconds rounded up.
    #[must_use]
    pub fn wait_for(reference_name: impl Into<String>, time: Duration) -> Self {
        let duration = format!("{} seconds", seconds_i64(time));
        step(TaskType::Wait, reference_name).input("duration", duration)
    }

    /// Waits until a time: `2026-12-31 18:30`, in UTC or with an offset behind it.
    #[must_use]
    pub fn wait_until(reference_name: impl Into<String>, until: impl Into<Value>) -> Self {
        step(TaskType::Wait, reference_name).input("until", until)
    }

    /// Waits for a signal.
    #[must_use]
    pub fn wait_for_signal(reference_name: impl Into<String>) -> Self {
        step(TaskType::Wait, reference_name)
    }

    /// Waits for a person.
    #[must_use]
    pub fn human(reference_name: impl Into<String>) -> Self {
        step(TaskType::Human, reference_name)
    }

    /// Publishes its input, for example to the sink `conductor:shipped`.
    #[must_use]
    pub fn event(reference_name: impl Into<String>, sink: impl Into<String>) -> Self {
        Self { sink: Some(sink.into()), ..step(TaskType::Event, reference_name) }
    }

    /// Calls a server.
    #[must_use]
    pub fn http(
        reference_name: impl Into<String>,
        method: impl Into<String>,
        uri: impl Into<String>,
    ) -> Self {
        let request = json!({ "method": method.into(), "uri": uri.into() });
        step(TaskType::Http, reference_name).input("http_request", request)
    }

    /// Makes something of its input with jq; the output's `result` is the first value.
    #[must_use]
    pub fn jq(reference_name: impl Into<String>, query: impl Into<String>) -> Self {
        step(TaskType::JsonJqTransform, reference_name).input("queryExpression", query.into())
    }

    /// Evaluates a JavaScript expression over its input, which is `$`; the output's `result` is
    /// what it gives.
    ///
    /// Needs the feature `js`.
    #[must_use]
    pub fn inline(reference_name: impl Into<String>, expression: impl Into<String>) -> Self {
        step(TaskType::Inline, reference_name)
            .input("evaluatorType", "javascript")
            .input("expression", expression.into())
    }

    /// Sets one of the workflow's variables; more with [`input`](Self::input).
    #[must_use]
    pub fn set_variable(
        reference_name: impl Into<String>,
        variable: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        step(TaskType::SetVariable, reference_name).input(variable, value)
    }

    /// Ends the workflow.
    #[must_use]
    pub fn terminate(
        reference_name: impl Into<String>,
        status: Termination,
        reason: impl Into<String>,
    ) -> Self {
        step(TaskType::Terminate, reference_name)
            .input("terminationStatus", json!(status))
            .input("terminationReason", reason.into())
    }

    /// Sets what the workflow gives when a [`terminate`](Self::terminate) ends it.
    #[must_use]
    pub fn terminate_output(self, output: impl Into<Value>) -> Self {
        self.input("workflowOutput", output)
    }

    /// Does nothing.
    #[must_use]
    pub fn noop(reference_name: impl Into<String>) -> Self {
        step(TaskType::Noop, reference_name)
    }

    /// Sets how many turns a loop keeps in its output.
    #[must_use]
    pub fn keep_last(self, turns: u32) -> Self {
        self.input("keepLastN", turns)
    }
}
