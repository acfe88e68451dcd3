//! The API's `OpenAPI` document, made from the table of routes and the types that bodies are read
//! into.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use oms_engine::schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::described::{DESCRIBED, Described};
use super::operate::{RerunBody, SkipBody};
use super::start::StartBody;
use super::test_run::Mocks;
use super::updates::TaskResult;
use super::{Answer, Route, endpoints, json as answer, route};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/api-docs" document), route!(GET "/v3/api-docs" document)]
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi);

async fn document() -> Answer {
    answer(&*DOCUMENT)
}

/// The document. What is not supported is not in it.
#[must_use]
pub fn openapi() -> Value {
    let described: BTreeMap<&str, &Described> =
        DESCRIBED.iter().map(|described| (described.0, described)).collect();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in endpoints().into_iter().filter(|endpoint| endpoint.supported) {
        let name = format!("{} {}", endpoint.method, endpoint.path);
        if let Some(described) = described.get(name.as_str()) {
            let operation = operation(&endpoint.method, endpoint.path, described);
            let of_path = paths.entry(endpoint.path).or_default();
            of_path.insert(endpoint.method.to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "oms-server",
            "description": "Conductor's REST API",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Authorization" },
            },
        },
        // A server without keys asks nobody.
        "security": [{ "token": [] }, {}],
    })
}

fn operation(method: &str, path: &str, described: &Described) -> Value {
    let (_, summary, query, body, gives) = described;
    let in_path = path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let schema = json!({ "type": "string", "minLength": 1 });
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    });
    let parameters: Vec<Value> = in_path.chain(query.split_whitespace().map(parameter)).collect();
    let id: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut operation = json!({
        "operationId": format!("{}{id}", method.to_ascii_lowercase()),
        "tags": [tag(path)],
        "summary": summary,
        "parameters": parameters,
        "responses": responses(gives),
    });
    if let (Some(body), Some(operation)) = (request_body(body), operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The resource.
fn tag(path: &str) -> &str {
    let mut parts = path.trim_start_matches('/').split('/');
    match parts.next() {
        Some("api") => parts.next().unwrap_or("api"),
        _ => "health",
    }
}

fn parameter(text: &str) -> Value {
    let (text, required) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
    let (text, many) = text.strip_suffix("[]").map_or((text, false), |text| (text, true));
    let (name, kind) = match text.split_once(':') {
        Some((name, "int")) => (name, "integer"),
        Some((name, _)) => (name, "boolean"),
        None => (text, "string"),
    };
    let one = json!({ "type": kind });
    let schema = if many { json!({ "type": "array", "items": one }) } else { one };
    json!({ "name": name, "in": "query", "required": required, "schema": schema })
}

fn request_body(body: &str) -> Option<Value> {
    let (name, required) = body.strip_suffix('?').map_or((body, true), |name| (name, false));
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let (kind, schema) = match name {
        "" => return None,
        "text" => ("text/plain", json!({ "type": "string" })),
        // An empty body counts as an empty object.
        "object" => ("application/json", json!({ "type": "object" })),
        "strings" => {
            ("application/json", json!({ "type": "array", "items": { "type": "string" } }))
        }
        "TaskDefs" => {
            ("application/json", json!({ "type": "array", "items": reference("TaskDef") }))
        }
        "WorkflowDefs" => {
            ("application/json", json!({ "type": "array", "items": reference("WorkflowDef") }))
        }
        name => ("application/json", reference(name)),
    };
    let required = required && name != "object";
    Some(json!({ "required": required, "content": { kind: { "schema": schema } } }))
}

fn responses(gives: &str) -> Value {
    let (gives, or_none) = gives.strip_suffix('?').map_or((gives, false), |gives| (gives, true));
    let content = |kind: &str, schema: Value| {
        let content = json!({ kind: { "schema": schema } });
        json!({ "description": "done", "content": content })
    };
    let mut responses = Map::new();
    let (status, response) = match gives {
        "204" => ("204", json!({ "description": "done" })),
        "none" => ("200", json!({ "description": "done" })),
        "text" => ("200", content("text/plain", json!({ "type": "string" }))),
        "list" => ("200", content("application/json", json!({ "type": "array" }))),
        _ => ("200", content("application/json", json!({}))),
    };
    responses.insert(status.to_owned(), response);
    if or_none {
        responses.insert("204".to_owned(), json!({ "description": "there is none" }));
    }
    let error = json!({ "$ref": "#/components/schemas/Error" });
    let refused = json!({
        "description": "refused",
        "content": { "application/json": { "schema": error } },
    });
    responses.insert("4XX".to_owned(), refused.clone());
    responses.insert("503".to_owned(), refused);
    Value::Object(responses)
}

/// The types of bodies, as they are read; definitions, whose fields other pages tell of, by what
/// they must have.
fn schemas() -> Map<String, Value> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let named = |name: &str, required: &[&str]| {
        let fields: Map<String, Value> =
            required.iter().map(|f| ((*f).to_owned(), json!({}))).collect();
        (name.to_owned(), json!({ "type": "object", "required": required, "properties": fields }))
    };
    let mut all: Map<String, Value> = [
        named("WorkflowDef", &["name", "tasks"]),
        named("TaskDef", &["name"]),
        named("EventHandler", &["name", "event", "actions"]),
        named("WorkflowSchedule", &["name", "startWorkflowRequest"]),
        named("Credentials", &["keyId", "keySecret"]),
        named("Error", &["status", "message", "instance", "retryable"]),
    ]
    .into_iter()
    .collect();
    all.extend([
        own::<StartBody>(&mut generator, "StartWorkflowRequest"),
        own::<TaskResult>(&mut generator, "TaskResult"),
        own::<RerunBody>(&mut generator, "RerunWorkflowRequest"),
        own::<SkipBody>(&mut generator, "SkipTaskRequest"),
        own::<Mocks>(&mut generator, "Mocks"),
        ("WorkflowTestRequest".to_owned(), both("StartWorkflowRequest", "Mocks")),
    ]);
    all
}

fn both(one: &str, other: &str) -> Value {
    let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    json!({ "allOf": [of(one), of(other)] })
}

fn own<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> (String, Value) {
    let mut schema = T::json_schema(generator).to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
        schema.remove("description");
    }
    (name.to_owned(), schema)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_that_does_something_is_described_once_and_no_other() {
        let there: BTreeSet<String> = endpoints()
            .into_iter()
            .filter(|endpoint| endpoint.supported)
            .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
            .collect();
        let described: Vec<String> = DESCRIBED.iter().map(|d| d.0.to_owned()).collect();
        assert_eq!(described.iter().cloned().collect::<BTreeSet<_>>(), there);
        assert_eq!(described.len(), there.len());
    }

    #[test]
    fn what_the_document_refers_to_is_in_it() {
        let document = openapi();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        let start = &schemas["StartWorkflowRequest"]["properties"];
        assert!(start["taskToDomain"].is_object(), "{start}");
        let execute = &document["paths"]["/api/workflow/execute/{name}/{version}"]["post"];
        assert_eq!(execute["parameters"].as_array().unwrap().len(), 7);
        let ids: Vec<&str> = text.split("\"operationId\":\"").skip(1).collect();
        let ids: BTreeSet<&str> = ids.iter().map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(ids.len(), DESCRIBED.len());
    }
}
