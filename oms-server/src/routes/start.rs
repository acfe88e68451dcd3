//! Starting workflows.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::schemars::JsonSchema;
use oms_engine::{IdempotencyStrategy, StartRequest, WorkflowDef};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Answer, Route, route, text};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::traced::Traced;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/workflow" start), route!(POST "/api/workflow/{id}" start_by_name)]
}

/// Conductor's `StartWorkflowRequest`. A null is as good as nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StartBody {
    name: Option<String>,
    version: Option<i32>,
    correlation_id: Option<String>,
    input: Option<Map<String, Value>>,
    task_to_domain: Option<BTreeMap<String, String>>,
    #[schemars(with = "Option<Map<String, Value>>")]
    workflow_def: Option<Box<RawValue>>,
    external_input_payload_storage_path: Option<String>,
    priority: Option<i32>,
    created_by: Option<String>,
    idempotency_key: Option<String>,
    idempotency_strategy: Option<String>,
    /// Of a run that is waited for: what its answer is named by.
    request_id: Option<String>,
}

fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl StartBody {
    pub(super) fn request_id(&self) -> Option<String> {
        some(self.request_id.clone())
    }

    /// Of this name and version, whatever it says itself; without a version the latest.
    pub(super) fn by_name(&mut self, name: &str, version: Option<i32>) {
        (self.name, self.version) = (Some(name.to_owned()), version);
    }

    /// With all its tasks in a domain, and as a run of its own.
    pub(super) fn in_domain(mut self, domain: &str) -> Result<Self, Refusal> {
        if self.task_to_domain.is_some_and(|map| !map.is_empty()) {
            let why = "a test-run's tasks are for no workers";
            return Err(Refusal::argument("taskToDomain", why));
        }
        if some(self.idempotency_key.take()).is_some() {
            let why = "each test-run is a run of its own";
            return Err(Refusal::argument("idempotencyKey", why));
        }
        // What the server would call itself too.
        let all = ["*", "HTTP"].map(|task_type| (task_type.to_owned(), domain.to_owned()));
        self.task_to_domain = Some(BTreeMap::from(all));
        Ok(self)
    }

    pub(super) fn request(self) -> Result<StartRequest, Refusal> {
        let refused = |path: &str| Err(Refusal::argument(path, "is not supported by this server"));
        if some(self.external_input_payload_storage_path).is_some() {
            return refused("externalInputPayloadStoragePath");
        }
        if some(self.created_by).is_some() {
            return refused("createdBy");
        }
        let Some(name) = some(self.name) else {
            return Err(Refusal::argument("name", "is missing"));
        };
        let mut request = StartRequest::new(name).input(self.input.unwrap_or_default());
        if let Some(text) = self.workflow_def {
            let def = WorkflowDef::from_json(text.get());
            let def = def.map_err(|faults| oms_engine::Error::InvalidDefinition { faults })?;
            request = request.definition(def);
        } else if let Some(version) = self.version {
            request = request.version(version);
        }
        if let Some(id) = some(self.correlation_id) {
            request = request.correlation_id(id);
        }
        if let Some(key) = some(self.idempotency_key) {
            request = request.idempotency_key(key);
        }
        if let Some(strategy) = some(self.idempotency_strategy) {
            request = request.idempotency_strategy(strategy_of(&strategy)?);
        }
        for (task_type, domains) in self.task_to_domain.unwrap_or_default() {
            request = request.task_to_domain(task_type, domains);
        }
        Ok(request.priority(self.priority.unwrap_or(0)))
    }
}

fn strategy_of(text: &str) -> Result<IdempotencyStrategy, Refusal> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| {
        let why = format!("{text:?} is none of FAIL, RETURN_EXISTING and FAIL_ON_RUNNING");
        Refusal::argument("idempotencyStrategy", why)
    })
}

async fn start(State(app): State<App>, traced: Traced, given: Given) -> Answer {
    let request = traced.start(given.json::<StartBody>()?.request()?);
    Ok(text(app.engine.start(request).await?.id.to_string()))
}

async fn start_by_name(
    State(app): State<App>,
    traced: Traced,
    asked: Asked,
    given: Given,
) -> Answer {
    let body = StartBody {
        name: Some(asked.name(0).to_owned()),
        version: asked.number("version")?,
        correlation_id: asked.text("correlationId").map(str::to_owned),
        priority: asked.number("priority")?,
        input: Some(given.object()?),
        ..StartBody::default()
    };
    Ok(text(app.engine.start(traced.start(body.request()?)).await?.id.to_string()))
}
