//! The tasks of a dynamic fork, read from its input in its three forms.

use serde_json::{Map, Value, json};

use super::flow::Place;
use super::node::BranchesFrom;
use crate::definition::{SubWorkflowParams, TaskType, WorkflowTask};

/// A task of a dynamic fork, and what data gives it as input.
pub(super) type Forked = (WorkflowTask, Map<String, Value>);

pub(super) fn tasks_of(
    from: &BranchesFrom,
    input: &Value,
    place: &Place,
) -> Result<Vec<Forked>, String> {
    if input.get("forkTaskInputs").is_some_and(Value::is_array) {
        return Ok(tasks_of_elements(input, place));
    }
    match from {
        BranchesFrom::Steps { tasks, inputs } => tasks_of_steps(input, tasks, inputs),
        BranchesFrom::Older(key) => tasks_of_older(input, key),
        BranchesFrom::Elements => Err(format!(
            "Input 'forkTaskInputs' is invalid. Expecting a list, found {}",
            input.get("forkTaskInputs").cloned().unwrap_or_default()
        )),
    }
}

fn tasks_of_steps(input: &Value, tasks: &str, inputs: &str) -> Result<Vec<Forked>, String> {
    let given = input.get(tasks).cloned().unwrap_or_default();
    let list: Result<Vec<WorkflowTask>, _> = serde_json::from_value(given.clone());
    let Ok(list) = list else {
        return Err(format!(
            "Input '{tasks}' is invalid. Cannot deserialize a list of Workflow Tasks from '{given}'"
        ));
    };
    let Some(inputs) = input.get(inputs).and_then(Value::as_object) else {
        return Err(format!(
            "Input to the dynamically forked tasks is not a map -> expecting a map of K,V  but \
             found {}",
            input.get(inputs).cloned().unwrap_or_default()
        ));
    };
    let forked = list.into_iter().map(|task| match inputs.get(&task.task_reference_name) {
        Some(Value::Object(own)) => Ok((task, own.clone())),
        None | Some(Value::Null) => Ok((task, Map::new())),
        Some(_) => Err(format!(
            "Tasks could not be dynamically forked due to invalid input: that of {:?} is not a map",
            task.task_reference_name
        )),
    });
    forked.collect()
}

fn tasks_of_older(input: &Value, key: &str) -> Result<Vec<Forked>, String> {
    let given = input.get(key).cloned().unwrap_or_default();
    let Some(list) = given.get("dynamicTasks").and_then(Value::as_array) else {
        return Err(format!(
            "Dynamic tasks could not be created. The value of '{key}' from task's input has no \
             dynamic tasks to be scheduled"
        ));
    };
    let text =
        |task: &Value, key: &str| task.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    Ok(list
        .iter()
        .map(|task| {
            let task_type = text(task, "type").map(TaskType::from);
            let workflow = text(task, "workflowName");
            let params = workflow
                .filter(|_| task_type == Some(TaskType::SubWorkflow))
                .map(|name| SubWorkflowParams { name: Some(name), ..SubWorkflowParams::default() });
            let forked = WorkflowTask {
                name: text(task, "taskName").unwrap_or_default(),
                task_reference_name: text(task, "referenceName").unwrap_or_default(),
                task_type: task_type.unwrap_or_default(),
                sub_workflow_param: params,
                ..WorkflowTask::default()
            };
            (forked, object(task.get("input")))
        })
        .collect())
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn tasks_of_elements(input: &Value, place: &Place) -> Vec<Forked> {
    let text = |key: &str| input.get(key).and_then(Value::as_str);
    let workflow = text("forkTaskWorkflow");
    let version = input.get("forkTaskWorkflowVersion");
    let version = version.and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok()));
    let task_type = match (workflow, text("forkTaskType")) {
        (Some(_), _) => TaskType::SubWorkflow,
        (None, Some(name)) => TaskType::from(name),
        (None, None) => TaskType::Simple,
    };
    let system = task_type != TaskType::Simple && !matches!(task_type, TaskType::Other(_));
    let name = match text("forkTaskName") {
        Some(name) => name.to_owned(),
        None if system && workflow.is_none() => task_type.as_str().to_owned(),
        None => place.name().to_string(),
    };
    let elements = input.get("forkTaskInputs").and_then(Value::as_array);
    let elements = elements.into_iter().flatten().enumerate().map(|(index, element)| {
        let mut own = match element {
            Value::Object(own) => own.clone(),
            other => Map::from_iter([("input".to_owned(), other.clone())]),
        };
        own.insert("__index".to_owned(), json!(index));
        let forked = WorkflowTask {
            name: name.clone(),
            task_reference_name: format!("_{name}_{index}"),
            task_type: task_type.clone(),
            sub_workflow_param: workflow.map(|workflow| SubWorkflowParams {
                name: Some(workflow.to_owned()),
                version: version.and_then(|version| i32::try_from(version).ok()),
                ..SubWorkflowParams::default()
            }),
            ..WorkflowTask::default()
        };
        (forked, own)
    });
    elements.collect()
}
