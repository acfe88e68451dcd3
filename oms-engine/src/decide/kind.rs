//! What a step does, read from the definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::node::{BranchesFrom, Kind, SwitchOn};
use crate::definition::{TaskType, Template, TemplateFault, WorkflowTask};

pub(super) fn kind_of(task: &WorkflowTask) -> Result<Kind, (&'static str, TemplateFault)> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Ok(match &task.task_type {
        TaskType::Dynamic => Kind::Dynamic(text(&task.dynamic_task_name_param)),
        TaskType::Switch => {
            let expression = text(&task.expression);
            let on = match task.evaluator_type.as_deref() {
                Some("value-param") => SwitchOn::Value(expression),
                _ => SwitchOn::Script(expression),
            };
            Kind::Switch { on, cases: BTreeMap::new(), default: None }
        }
        TaskType::Decision => {
            let on = match &task.case_expression {
                Some(script) if !script.is_empty() => SwitchOn::Script(script.clone()),
                _ => SwitchOn::Value(text(&task.case_value_param)),
            };
            Kind::Switch { on, cases: BTreeMap::new(), default: None }
        }
        TaskType::ForkJoin => Kind::Fork { branches: Vec::new(), floats: false },
        TaskType::ForkJoinDynamic => Kind::DynamicFork(branches_from(task)),
        TaskType::Join => Kind::Join { on: task.join_on.clone(), fork: None, by_list: false },
        TaskType::ExclusiveJoin => Kind::ExclusiveJoin {
            on: task.join_on.clone(),
            default: task.default_exclusive_join_task.clone(),
            by_list: false,
        },
        TaskType::DoWhile => {
            let given = |text: &&String| !text.trim().is_empty();
            let items = task.items.as_ref().filter(given).map(|items| json!(items));
            let older = task.input_parameters.get("_items").filter(|items| match items {
                Value::String(text) => !text.trim().is_empty(),
                items => items.is_array(),
            });
            let items = items.or_else(|| older.cloned());
            let items = items.map(|items| Template::parse(&items)).transpose();
            Kind::Loop {
                condition: task.loop_condition.clone().filter(|text| !text.trim().is_empty()),
                items: items.map_err(|fault| ("items", fault))?,
                body: None,
            }
        }
        TaskType::SubWorkflow => {
            let params = Template::parse(&sub_workflow_params(task));
            let given = task.sub_workflow_param.as_ref();
            let definition = given.and_then(|params| params.workflow_definition.clone());
            Kind::SubWorkflow {
                params: params.map_err(|fault| ("subWorkflowParam", fault))?,
                definition: definition.filter(|text| !text.is_string()).map(Arc::new),
            }
        }
        TaskType::StartWorkflow => Kind::StartWorkflow,
        TaskType::Wait => Kind::Wait,
        TaskType::Human => Kind::Human,
        TaskType::Event => Kind::Event,
        TaskType::Inline => Kind::Inline,
        TaskType::Lambda => Kind::Lambda,
        TaskType::JsonJqTransform => Kind::Jq,
        TaskType::SetVariable => Kind::SetVariable,
        TaskType::Terminate => Kind::Terminate,
        TaskType::Noop => Kind::Noop,
        _ => Kind::Worker,
    })
}

fn branches_from(task: &WorkflowTask) -> BranchesFrom {
    match (
        &task.dynamic_fork_tasks_param,
        &task.dynamic_fork_tasks_input_param_name,
        &task.dynamic_fork_join_tasks_param,
    ) {
        (Some(tasks), Some(inputs), _) => {
            BranchesFrom::Steps { tasks: tasks.clone(), inputs: inputs.clone() }
        }
        (_, _, Some(key)) => BranchesFrom::Older(key.clone()),
        _ => BranchesFrom::Elements,
    }
}

/// The input of an EVENT says where it goes, too, as in Conductor.
pub(super) fn event_parameters(task: &WorkflowTask) -> Map<String, Value> {
    let mut parameters = task.input_parameters.clone();
    parameters.insert("sink".to_owned(), json!(task.sink));
    parameters.insert("asyncComplete".to_owned(), json!(task.async_complete));
    parameters
}

/// What stands in `subWorkflowParam`, with expressions. A definition that is written out is no
/// template: expressions in it are the child's.
fn sub_workflow_params(task: &WorkflowTask) -> Value {
    let Some(params) = &task.sub_workflow_param else { return json!({}) };
    let mut given = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(key.to_owned(), value);
        }
    };
    add("name", params.name.as_ref().map(|name| json!(name)));
    add("version", params.version.map(|version| json!(version)));
    add("priority", params.priority.clone());
    add("taskToDomain", params.task_to_domain.as_ref().map(|domains| json!(domains)));
    add("idempotencyKey", params.idempotency_key.as_ref().map(|key| json!(key)));
    add("idempotencyStrategy", params.idempotency_strategy.map(|strategy| json!(strategy)));
    let expression = params.workflow_definition.clone().filter(Value::is_string);
    add("workflowDefinition", expression);
    Value::Object(given)
}
