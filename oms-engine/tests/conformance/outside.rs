//! What comes from outside a run: its definitions, events, signals.

use oms_engine::definition::{EventHandler, SchemaDef};
use oms_engine::{
    Engine, Error, EventExecutionRequest, EventRequest, Signal, StartRequest, TaskDef, WorkflowDef,
    WorkflowId,
};
use serde_json::{Map, Value, json};

use crate::case::{Case, Execution};
use crate::play::Player;

pub(crate) async fn begin(engine: &Engine, case: &Case) -> Result<WorkflowId, Error> {
    let read = |def: &Value| WorkflowDef::from_json(&def.to_string()).unwrap();
    let task = |def: &Value| serde_json::from_value::<TaskDef>(def.clone()).unwrap();
    let schema = |def: &Value| serde_json::from_value::<SchemaDef>(def.clone()).unwrap();
    let schemas: Vec<SchemaDef> = case.schemas.iter().map(schema).collect();
    engine.register_schemas(&schemas).await?;
    let tasks: Vec<TaskDef> = case.task_definitions.iter().map(task).collect();
    let workflows: Vec<WorkflowDef> = case.workflows.iter().map(read).collect();
    engine.register(&tasks, &workflows).await?;
    let handler = |text: &Value| EventHandler::from_json(&text.to_string()).unwrap();
    let handlers: Vec<EventHandler> = case.event_handlers.iter().map(handler).collect();
    engine.register_event_handlers(&handlers).await?;
    let definition = read(&case.definition);
    engine.register_workflow(&definition).await?;
    let mut request = StartRequest::new(&definition.name).version(definition.version);
    if !case.start.input.is_empty() {
        request = request.input(Value::Object(case.start.input.clone()));
    }
    if let Some(correlation_id) = &case.start.correlation_id {
        request = request.correlation_id(correlation_id);
    }
    for (task_type, domains) in &case.start.task_to_domain {
        request = request.task_to_domain(task_type, domains);
    }
    Ok(engine.start(request).await?.id)
}

impl Player {
    /// Steps that tell something: of an event, or of how a task stands.
    pub(crate) async fn tell(
        &self,
        id: WorkflowId,
        step: &Map<String, Value>,
    ) -> Option<Result<(), Error>> {
        let object = |key: &str| step.get(key).cloned().unwrap_or_else(|| json!({}));
        if let Some(event) = step.get("event").and_then(Value::as_str) {
            let payload = Self::with_ids(id, &object("payload"));
            let mut request = EventRequest::new(event, payload);
            if let Some(key) = step.get("key").and_then(Value::as_str) {
                request = request.idempotency_key(key);
            }
            return Some(self.engine.publish(request).await.map(drop));
        }
        if let Some(name) = step.get("update").and_then(Value::as_str) {
            let signal = Signal::in_progress(object("output"));
            return Some(self.engine.signal(id, name, signal).await.map(drop));
        }
        if step.contains_key("signal") {
            let signal = Signal::completed(object("output"));
            return Some(self.engine.signal_first(id, signal).await.map(drop));
        }
        None
    }

    fn with_ids(id: WorkflowId, payload: &Value) -> Value {
        let text = payload.to_string().replace("<workflowId>", &id.to_string());
        serde_json::from_str(&text).unwrap()
    }

    /// Whether handlers did what was expected.
    pub(crate) async fn executions(&self) -> Option<String> {
        let expected = self.case.executions.as_ref()?;
        let mut found =
            self.engine.event_executions(&EventExecutionRequest::default()).await.unwrap();
        // Oldest events first.
        found.sort_by_key(|execution| execution.event_number);
        let found = found.into_iter().map(|execution| Execution {
            handler: execution.name,
            action: execution.action,
            status: json!(execution.status).as_str().unwrap().to_owned(),
        });
        let found: Vec<Execution> = found.collect();
        (found != *expected)
            .then(|| format!("  executions: expected {expected:#?}, found {found:#?}"))
    }
}
