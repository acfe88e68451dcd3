//! Tasks that need no worker: what they come to.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::flow::{After, Place, Walk};
use super::node::{Kind, SUB_WORKFLOW_DEFINITION};
use super::scope::RunScope;
use super::status::{TaskStatus, WorkflowStatus};
use super::{DecideError, End};
use crate::definition::{
    Payload, PayloadFault, TASK_PAYLOAD_MAX_BYTES, VARIABLES_MAX_BYTES, body_as_expression,
    check_payload, clean_reason, evaluate_jq, evaluate_js,
};

/// What a script gives for a task's input, if it can be stored.
pub(super) fn script(source: &str, input: &Value) -> Result<Value, String> {
    let value = evaluate_js(source, input).map_err(|error| clean_reason(error.to_string()))?;
    check_payload("what the script gives", &value, TASK_PAYLOAD_MAX_BYTES)
        .map_err(|fault| fault.to_string())?;
    Ok(value)
}

fn function(body: &str, input: &Value) -> Result<Value, String> {
    script(&body_as_expression(body), input)
}

impl Walk<'_> {
    /// Does a task that needs no worker.
    pub(super) fn perform(
        &mut self,
        entry: Option<usize>,
        place: &Place,
    ) -> Result<(), DecideError> {
        let Some(number) = entry else { return Ok(()) };
        let Some(scheduled) = self.out.scheduled.get(number) else { return Ok(()) };
        let (attempt, input, key) = (scheduled.attempt, scheduled.input.clone(), scheduled.key);
        match (&place.node.kind, key) {
            (Kind::Loop { .. }, _) => self.begin_loop(number, place),
            (_, Some(key)) => self.close(key, None),
            _ => {
                let after = self.result(place, attempt, &input)?;
                if Self::waits_on(place, &after) {
                    self.state.open.insert(place.name(), attempt);
                    if let Some(scheduled) = self.out.scheduled.get_mut(number) {
                        scheduled.fate = super::Fate::Waits { output: after.output };
                    }
                    return Ok(());
                }
                if self.out.end.is_none() {
                    return self.judge(entry, place, &after);
                }
                self.keep(place, &after, after.status)?;
                if let Some(scheduled) = self.out.scheduled.get_mut(number) {
                    scheduled.fate =
                        super::Fate::Ended { status: after.status, output: after.output };
                }
                Ok(())
            }
        }
    }

    /// Does a task that needs no worker and had to wait: the event's own.
    pub(super) fn run_source(
        &mut self,
        place: &Place,
        attempt: i16,
        input: &Payload,
    ) -> Result<(), DecideError> {
        let after = self.result(place, attempt, input)?;
        if Self::waits_on(place, &after) {
            self.out.stays = after.output;
            return Ok(());
        }
        self.out.output.clone_from(&after.output);
        self.out.reason.clone_from(&after.reason);
        if self.out.end.is_some() {
            self.out.ended_as = Some(after.status);
            self.keep(place, &after, after.status)?;
            return Ok(());
        }
        self.judge(None, place, &after)
    }

    /// What the task comes to, with what it does to the run.
    fn result(
        &mut self,
        place: &Place,
        attempt: i16,
        input: &Payload,
    ) -> Result<After, DecideError> {
        if place.node.kind.runs_script() && !self.state.fresh {
            return Err(DecideError::NeedsFresh);
        }
        let mut after = match &place.node.kind {
            Kind::SetVariable => self.set_variables(place, attempt, input)?,
            Kind::Terminate => self.terminate(place, attempt, input)?,
            Kind::Join { on, .. } => self.join_alone(place, attempt, on),
            Kind::ExclusiveJoin { on, default, .. } => {
                self.exclusive_join(attempt, (on, default), |name| self.known(place, name))
            }
            Kind::Event => self.publish(place, attempt, input)?,
            Kind::Inline => inline(attempt, input),
            Kind::Lambda => lambda(attempt, input),
            Kind::Jq => transform(attempt, input),
            _ => After::completed(attempt, json!({})),
        };
        after.input = Some(input.clone());
        if after.status == TaskStatus::Completed
            && let Some(output) = &after.output
            && let Some(reason) = super::ends::misfit_of(&place.node, output)
        {
            after.status = TaskStatus::FailedWithTerminalError;
            after.reason = Some(reason);
        }
        Ok(after)
    }

    fn set_variables(
        &mut self,
        place: &Place,
        attempt: i16,
        input: &Value,
    ) -> Result<After, DecideError> {
        let alone = place.node.sole && place.branch.is_none();
        if !(alone || self.state.fresh) {
            return Err(DecideError::NeedsFresh);
        }
        let Some(given) = input.as_object() else {
            return Ok(After::completed(attempt, json!({})));
        };
        let mut variables = match &*self.state.variables {
            Value::Object(variables) => variables.clone(),
            _ => Map::new(),
        };
        variables.extend(given.clone());
        let variables = Value::Object(variables);
        if let Err(fault) =
            check_payload("variables of the workflow", &variables, VARIABLES_MAX_BYTES)
        {
            let status = TaskStatus::FailedWithTerminalError;
            return Ok(After::failed(attempt, status, fault.to_string()));
        }
        self.state.variables = Arc::new(variables);
        self.out.variables.extend(given.clone());
        Ok(After::completed(attempt, json!({})))
    }

    fn terminate(
        &mut self,
        place: &Place,
        attempt: i16,
        input: &Value,
    ) -> Result<After, DecideError> {
        let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
        let status = match text("terminationStatus") {
            "COMPLETED" => WorkflowStatus::Completed,
            "FAILED" => WorkflowStatus::Failed,
            "TERMINATED" => WorkflowStatus::Terminated,
            other => {
                let reason = format!("Invalid terminationStatus {other:?}");
                return Ok(After::failed(attempt, TaskStatus::Failed, reason));
            }
        };
        self.check_end(place)?;
        let output = match input.get("workflowOutput") {
            Some(Value::Object(output)) => Value::Object(output.clone()),
            None | Some(Value::Null) => json!({}),
            Some(other) => json!({ "output": other }),
        };
        let task_id = self.state.task_id(&place.name(), attempt).to_string();
        let reason = match text("terminationReason") {
            "" => format!("Workflow is {status} by TERMINATE task: {task_id}"),
            reason => reason.to_owned(),
        };
        let after = After::completed(attempt, output);
        self.state.turn(status, Some(reason.clone()));
        let failed = status != WorkflowStatus::Completed;
        self.out.end = Some(End {
            status,
            output: after.output.as_ref().map(Payload::shared),
            reason: Some(reason),
            failed_task: failed.then_some(task_id),
        });
        Ok(after)
    }

    /// What the child of a `SUB_WORKFLOW` is started with.
    pub(super) fn sub_workflow_input(
        &self,
        place: &Place,
        own: Value,
    ) -> Result<Value, PayloadFault> {
        let Kind::SubWorkflow { params, definition } = &place.node.kind else { return Ok(own) };
        let scope = RunScope::new(self.plan, self.state);
        let what = format_args!("subWorkflowParam of task {:?}", place.node.reference_name);
        let mut params = params.resolve(&scope, what, TASK_PAYLOAD_MAX_BYTES)?;
        let mut take = |key: &str| params.get_mut(key).map(Value::take).unwrap_or_default();
        let given = match definition {
            // It stands in the plan. What data gives stands nowhere else.
            Some(definition) if place.branch.is_some() => Value::clone(definition),
            _ => take("workflowDefinition"),
        };
        Ok(json!({
            "subWorkflowName": take("name"),
            "subWorkflowVersion": take("version"),
            "priority": take("priority"),
            "subWorkflowTaskToDomain": take("taskToDomain"),
            SUB_WORKFLOW_DEFINITION: given,
            "idempotencyKey": take("idempotencyKey"),
            "idempotencyStrategy": take("idempotencyStrategy"),
            "workflowInput": own,
        }))
    }

    /// The input and output of a switch, and the first step of the case it takes.
    pub(super) fn cases(
        &self,
        place: &Place,
        input: &Value,
        value: &Value,
    ) -> (Value, Option<Value>, Option<usize>) {
        let Kind::Switch { cases, default, .. } = &place.node.kind else {
            return (input.clone(), None, None);
        };
        let case = match value {
            Value::String(text) => text.clone(),
            other => crate::definition::java_text(other),
        };
        let decision = &*place.node.task_type == "DECISION";
        let first = match cases.get(&case) {
            // The older form takes the default for a case that is empty, too.
            Some(None) if decision => *default,
            Some(first) => *first,
            None => *default,
        };
        let mut input = input.clone();
        if let Some(input) = input.as_object_mut() {
            input.insert("case".to_owned(), json!(case));
            if first.is_some() {
                input.insert("hasChildren".to_owned(), json!("true"));
            }
        }
        let output = if decision {
            json!({ "caseOutput": [case] })
        } else {
            json!({ "evaluationResult": [case], "selectedCase": case })
        };
        (input, Some(output), first)
    }
}

fn inline(attempt: i16, input: &Value) -> After {
    let terminal = |reason: String| {
        let output = Some(json!({ "error": reason }).into());
        After { output, ..After::failed(attempt, TaskStatus::FailedWithTerminalError, reason) }
    };
    let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    let expression = text("expression");
    if expression.is_empty() {
        return terminal("Empty 'expression' in INLINE task's input parameters".to_owned());
    }
    let evaluator = match input.get("evaluatorType") {
        None => "javascript",
        Some(_) if text("evaluatorType").trim().is_empty() => {
            let why = "Empty 'evaluatorType' in INLINE task's input parameters";
            return terminal(why.to_owned());
        }
        Some(_) => text("evaluatorType"),
    };
    let result = match evaluator {
        "javascript" | "graaljs" => script(expression, input),
        "value-param" => Ok(input.get(expression).cloned().unwrap_or_default()),
        other => Err(format!("Unknown evaluator {other:?}")),
    };
    match result {
        Ok(result) => After::completed(attempt, json!({ "result": result })),
        Err(reason) => terminal(reason),
    }
}

fn lambda(attempt: i16, input: &Value) -> After {
    let failed = |reason: String| {
        let output = Some(json!({ "error": reason }).into());
        After { output, ..After::failed(attempt, TaskStatus::Failed, reason) }
    };
    let body = input.get("scriptExpression").and_then(Value::as_str).unwrap_or_default();
    if body.is_empty() {
        return failed("Empty 'scriptExpression' in LAMBDA task's input parameters".to_owned());
    }
    match function(body, input) {
        Ok(result) => After::completed(attempt, json!({ "result": result })),
        Err(reason) => failed(reason),
    }
}

fn transform(attempt: i16, input: &Value) -> After {
    let failed = |reason: String| {
        let output = Some(json!({ "error": reason }).into());
        After { output, ..After::failed(attempt, TaskStatus::Failed, reason) }
    };
    let query = input.get("queryExpression").and_then(Value::as_str).unwrap_or_default();
    if query.is_empty() {
        return failed("Missing 'queryExpression' in input parameters".to_owned());
    }
    match evaluate_jq(query, input).map_err(|error| clean_reason(error.to_string())) {
        Ok(results) => {
            let first = results.first().cloned().unwrap_or_default();
            let output = json!({ "result": first, "resultList": results });
            match check_payload("output of the query", &output, TASK_PAYLOAD_MAX_BYTES) {
                Ok(()) => After::completed(attempt, output),
                Err(fault) => failed(fault.to_string()),
            }
        }
        Err(reason) => failed(reason),
    }
}
