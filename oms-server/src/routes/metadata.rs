//! Task and workflow definitions.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::{Error, TaskDef, WorkflowDef};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Route, done, json as answer, route};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::shown::definition_json;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/metadata/taskdefs" put_tasks),
        route!(PUT "/api/metadata/taskdefs" replace_task),
        route!(GET "/api/metadata/taskdefs" list_tasks),
        route!(GET "/api/metadata/taskdefs/{name}" get_task),
        route!(DELETE "/api/metadata/taskdefs/{name}" remove_task),
        route!(POST "/api/metadata/workflow" put_workflow),
        route!(PUT "/api/metadata/workflow" put_workflows),
        route!(GET "/api/metadata/workflow" list_workflows),
        route!(POST "/api/metadata/workflow/validate" validate),
        route!(GET "/api/metadata/workflow/names" names),
        route!(GET "/api/metadata/workflow/names-and-versions" names_and_versions),
        route!(GET "/api/metadata/workflow/latest-versions" latest_versions),
        route!(GET "/api/metadata/workflow/{name}" get_workflow),
        route!(GET "/api/metadata/workflow/{name}/versions" versions),
        route!(DELETE "/api/metadata/workflow/{name}/{version}" remove_workflow),
    ]
}

async fn put_tasks(State(app): State<App>, given: Given) -> Answer {
    let defs: Vec<TaskDef> = given.json()?;
    app.engine.register(&defs, &[]).await?;
    Ok(done())
}

async fn replace_task(State(app): State<App>, given: Given) -> Answer {
    let def: TaskDef = given.json()?;
    app.engine.task_definition(&def.name).await?;
    app.engine.register_task(&def).await?;
    Ok(done())
}

async fn list_tasks(State(app): State<App>) -> Answer {
    answer(&app.engine.task_definitions().await?)
}

async fn get_task(State(app): State<App>, asked: Asked) -> Answer {
    answer(&app.engine.task_definition(asked.name(0)).await?)
}

async fn remove_task(State(app): State<App>, asked: Asked) -> Answer {
    app.engine.remove_task_definition(asked.name(0)).await?;
    Ok(done())
}

async fn put_workflow(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let overwrite = asked.flag("overwrite", false)?;
    let def = definition(given.as_text()?)?;
    if overwrite {
        app.engine.register_workflow(&def).await?;
    } else {
        app.engine.register_new_workflow(&def).await?;
    }
    Ok(done())
}

/// Tasks may stand deep in each other: what reads definitions knows how deep.
fn definition(text: &str) -> Result<WorkflowDef, Refusal> {
    WorkflowDef::from_json(text).map_err(|faults| Error::InvalidDefinition { faults }.into())
}

/// The name in a text that is no definition.
fn name_in(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_str::<Named>(text).ok().map(|named| named.name)
}

/// Each by itself: what is refused is listed and keeps nobody else.
async fn put_workflows(State(app): State<App>, given: Given) -> Answer {
    let texts: Vec<Box<RawValue>> = given.json()?;
    let (mut errors, mut done) = (BTreeMap::new(), Vec::new());
    for (n, text) in texts.into_iter().enumerate() {
        let def = match definition(text.get()) {
            Ok(def) => def,
            Err(refusal) => {
                errors.insert(
                    name_in(text.get()).unwrap_or_else(|| format!("[{n}]")),
                    refusal.message,
                );
                continue;
            }
        };
        match app.engine.register_workflow(&def).await {
            Ok(_) => done.push(def.name),
            Err(error) => {
                errors.insert(def.name, error.to_string());
            }
        }
    }
    answer(&json!({ "bulkErrorResults": errors, "bulkSuccessfulResults": done }))
}

async fn validate(State(app): State<App>, given: Given) -> Answer {
    app.engine.validate_workflow(&definition(given.as_text()?)?).await?;
    Ok(done())
}

async fn get_workflow(State(app): State<App>, asked: Asked) -> Answer {
    let version = asked.number("version")?;
    let def = app.engine.workflow_definition(asked.name(0), version).await?;
    answer(&definition_json(&def)?)
}

async fn list_workflows(State(app): State<App>) -> Answer {
    let all = app.engine.workflow_definitions().await?;
    answer(&all.iter().map(definition_json).collect::<Result<Vec<_>, _>>()?)
}

async fn names(State(app): State<App>) -> Answer {
    let mut names: Vec<String> =
        app.engine.workflow_definitions().await?.into_iter().map(|def| def.name).collect();
    names.dedup();
    answer(&names)
}

fn summary(def: &WorkflowDef) -> Value {
    json!({
        "name": def.name,
        "version": def.version,
        "createTime": def.create_time,
        "updateTime": def.update_time,
    })
}

async fn names_and_versions(State(app): State<App>) -> Answer {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for def in app.engine.workflow_definitions().await? {
        all.entry(def.name.clone()).or_default().push(summary(&def));
    }
    answer(&all)
}

async fn latest_versions(State(app): State<App>) -> Answer {
    let mut latest: BTreeMap<String, WorkflowDef> = BTreeMap::new();
    // By name and version: the last of a name is its latest.
    for def in app.engine.workflow_definitions().await? {
        latest.insert(def.name.clone(), def);
    }
    answer(&latest.values().map(definition_json).collect::<Result<Vec<_>, _>>()?)
}

async fn versions(State(app): State<App>, asked: Asked) -> Answer {
    let name = asked.name(0);
    let all = app.engine.workflow_definitions().await?;
    let of: Vec<Value> = all.iter().filter(|def| def.name == name).map(summary).collect();
    if of.is_empty() {
        let text = format!("workflow definition {name:?} is not registered");
        return Err(Refusal::not_found(text));
    }
    answer(&of)
}

async fn remove_workflow(State(app): State<App>, asked: Asked) -> Answer {
    let version = asked.name(1);
    let version = version
        .parse()
        .map_err(|_| Refusal::argument("version", format!("{version:?} is no number that fits")))?;
    app.engine.remove_workflow_definition(asked.name(0), version).await?;
    Ok(done())
}
