//! Events: published with the step that publishes them, laid out for their handlers, and each
//! action of a handler done in a transaction that also says that it is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use serde_json::{Map, Value, json};

use super::child::{Wish, Wished};
use super::one::{Happened, OneStep};
use super::operate::Operation;
use super::outside::Said;
use super::start::NewRun;
use super::{Acted, Core, REPEATS_MAX, repeats};
use crate::decide::{Decision, TaskStatus};
use crate::definition::{
    Asked, EventAction, EventHandler, TASK_PAYLOAD_MAX_BYTES, TaskTarget, TaskToDomain,
    check_payload,
};
use crate::error::Error;
use crate::ids::{WorkflowId, draw_jitter};
use crate::store::{ActionRow, ActionStatus, DueAction, EventRow, NewEvent};

/// The wake-up for whoever looks after events.
pub(crate) const EVENTS_NOTE: &str = "$events";

/// Events that are laid out in one transaction.
const EVENTS_MAX: i64 = 100;
/// An action whose run moves too fast is tried again after this time.
const POSTPONE_MS: i64 = 1_000;

impl Core {
    /// Publishes the events of a decision in its transaction.
    pub(super) async fn publish(
        &self,
        tx: &Transaction<'_>,
        decision: &Decision,
        done: &mut Acted,
    ) -> Result<(), Error> {
        if decision.events.is_empty() {
            return Ok(());
        }
        let events = decision.events.iter().map(|published| NewEvent {
            event: published.event.clone(),
            message_id: published.message_id.clone(),
            idempotency_key: None,
            payload: published.payload.clone(),
        });
        self.store.insert_events(tx, &events.collect::<Vec<_>>()).await?;
        done.ready.push(EVENTS_NOTE.to_owned());
        Ok(())
    }

    /// Asks the handlers of events that were published what they do about them. Out: whether
    /// there were any.
    pub(crate) async fn lay_out_events(&self, client: &mut ClientWrapper) -> Result<bool, Error> {
        let store = &self.store;
        let tx = store.begin(client).await?;
        let events = store.take_events(&tx, EVENTS_MAX).await?;
        if events.is_empty() {
            store.roll_back(tx).await?;
            return Ok(false);
        }
        let mut names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut handlers: BTreeMap<String, Vec<EventHandler>> = BTreeMap::new();
        for text in store.find_event_handlers(&tx, &names).await? {
            match serde_json::from_value::<EventHandler>(text) {
                Ok(handler) => handlers.entry(handler.event.clone()).or_default().push(handler),
                Err(error) => tracing::error!(%error, "an event handler cannot be read"),
            }
        }
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        // Conditions may be scripts, which take time.
        let work = move || {
            let of = |event: &EventRow| handlers.get(&event.event).map_or(&[][..], Vec::as_slice);
            events.iter().flat_map(|event| laid_out(event, of(event))).collect::<Vec<ActionRow>>()
        };
        let actions =
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::Invariant {
                workflow_id: None,
                what: format!("a condition did not end: {error}"),
            })?;
        store.lay_out_events(&tx, &ids, &actions).await?;
        store.commit(tx).await?;
        Ok(true)
    }

    /// Does the next action of a handler. None: there is nothing to do.
    ///
    /// An error that leaves the commit's fate open is harmless: the action is done if and only
    /// if it is marked so.
    pub(crate) async fn next_event_action(
        &self,
        client: &mut ClientWrapper,
    ) -> Result<Option<Acted>, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            // In a deadlock with a step this one gives way.
            let tx = self.store.begin_giving_way(client).await?;
            let Some(due) = self.store.take_event_action(&tx).await? else {
                self.store.roll_back(tx).await?;
                return Ok(None);
            };
            let error = match Box::pin(self.event_action(&tx, &due)).await {
                Ok((acted, output)) => {
                    let end = (ActionStatus::Completed, &output);
                    self.store.end_event_action(&tx, &due, end).await?;
                    self.store.commit(tx).await?;
                    return Ok(Some(acted));
                }
                Err(error) => error,
            };
            if !repeats(&error) && error.is_retryable() {
                return Err(error);
            }
            self.store.roll_back(tx).await?;
            if !repeats(&error) {
                tracing::warn!(
                    event = due.event.event, handler = due.handler, %error,
                    "an event handler's action failed"
                );
                let output = json!({ "exception": error.to_string() });
                let end = (ActionStatus::Failed, &output);
                self.store.end_event_action(&*client, &due, end).await?;
                return Ok(Some(Acted::default()));
            }
            if tries >= REPEATS_MAX {
                self.store.postpone_event_action(&*client, &due, POSTPONE_MS).await?;
                return Ok(Some(Acted::default()));
            }
            let wait = Duration::from_millis(2 << tries.min(6)).mul_f64(draw_jitter());
            tokio::time::sleep(wait).await;
        }
    }

    /// Out: what it did to runs, and the action's output.
    async fn event_action(
        &self,
        tx: &Transaction<'_>,
        due: &DueAction,
    ) -> Result<(Acted, Value), Error> {
        let failed = |reason: String| Error::invalid("action", reason);
        let action: EventAction = serde_json::from_value(due.action.clone())
            .map_err(|error| failed(format!("it cannot be read: {error}")))?;
        let event = &due.event;
        let asked = action.asks(&event.event, &event.message_id, &event.payload).map_err(failed)?;
        match asked {
            Asked::Start { name, version, input, correlation_id, task_to_domain } => {
                let domains = TaskToDomain::read(&Value::Object(task_to_domain))
                    .map_err(|(key, reason)| failed(format!("taskToDomain {key:?}: {reason}")))?;
                let task_to_domain = domains.map(Arc::new);
                let new = NewRun { input, correlation_id, task_to_domain, ..NewRun::default() };
                let wish = Wish { name, version, definition: None, new };
                let (id, ready) = match self.start_wish(tx, wish).await?.map_err(failed)? {
                    Wished::Started { id, queue, .. } => (id, vec![queue]),
                    Wished::Existing(id) => (id, Vec::new()),
                };
                let acted = Acted { ready, timed: true, ..Acted::default() };
                Ok((acted, json!({ "workflowId": id.to_string() })))
            }
            Asked::EndTask { task, failed, output, reason } => {
                let output = Value::Object(output);
                check_payload("output of the task", &output, TASK_PAYLOAD_MAX_BYTES)
                    .map_err(|fault| Error::invalid("output", fault.to_string()))?;
                let status = if failed { TaskStatus::Failed } else { TaskStatus::Completed };
                let said = Said { status, output: output.clone(), reason, adds: false };
                Ok((self.end_task(tx, &task, said).await?, output))
            }
            Asked::Terminate { workflow_id, reason } => {
                let operation = Operation::Terminate { reason, compensate: false };
                let acted = self.operate(tx, workflow_id, &operation).await?;
                Ok((acted, json!({ "workflowId": workflow_id.to_string() })))
            }
            Asked::SetVariables { workflow_id, variables, append } => {
                let operation = Operation::SetVariables { variables, append };
                let acted = self.operate(tx, workflow_id, &operation).await?;
                Ok((acted, json!({ "workflowId": workflow_id.to_string() })))
            }
        }
    }

    /// Ends a task that is open.
    async fn end_task(
        &self,
        tx: &Transaction<'_>,
        task: &TaskTarget,
        said: Said,
    ) -> Result<Acted, Error> {
        let (id, name, attempt) = match task {
            TaskTarget::Id(task) => {
                (task.workflow_id, &task.reference_name, Some((task.epoch, task.attempt)))
            }
            TaskTarget::Named { workflow_id, reference_name } => {
                (*workflow_id, reference_name, None)
            }
        };
        let nobody = || not_open(id, name);
        let found = self.store.find_open_task(tx, (id, name), attempt).await?;
        let found = found.ok_or_else(nobody)?;
        let step = OneStep {
            token_id: found.token_id,
            holder: found.holder,
            worker: None,
            happened: Happened::Said(said),
        };
        let acted = self.step(tx, &step).await?;
        // It moved between the look and the lock: look again.
        if acted.lost { Err(Error::Moved { workflow_id: id }) } else { Ok(acted) }
    }
}

/// Nothing that a word from outside could end.
pub(crate) fn not_open(workflow_id: WorkflowId, reference_name: &str) -> Error {
    let reason = format!("no task {reference_name:?} of it waits for a signal");
    Error::Conflict { workflow_id, action: "signal", reason }
}

/// What the handlers of an event do about it.
pub(super) fn laid_out(event: &EventRow, handlers: &[EventHandler]) -> Vec<ActionRow> {
    let row = |handler: &EventHandler, number: usize, status| ActionRow {
        event_id: event.id,
        handler: handler.name.clone(),
        number: i16::try_from(number).unwrap_or(i16::MAX),
        action: None,
        status,
        output: json!({}),
    };
    let of = |handler: &EventHandler| match handler.holds_for(&event.payload) {
        Ok(true) => {
            let actions = handler.actions.iter().enumerate();
            let open = actions.map(|(number, action)| ActionRow {
                action: Some(json!(action)),
                ..row(handler, number, ActionStatus::Open)
            });
            open.collect()
        }
        Ok(false) => {
            let output = json!({ "condition": handler.condition });
            vec![ActionRow { output, ..row(handler, 0, ActionStatus::Skipped) }]
        }
        Err(error) => {
            let output = json!({ "condition": handler.condition, "exception": error });
            vec![ActionRow { output, ..row(handler, 0, ActionStatus::Failed) }]
        }
    };
    handlers.iter().flat_map(of).collect()
}

/// The variables of a run with these set.
pub(super) fn with_variables(
    before: &Value,
    set: &Map<String, Value>,
    append: bool,
) -> Map<String, Value> {
    let mut variables = before.as_object().cloned().unwrap_or_default();
    for (name, value) in set {
        match (variables.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) if append => {
                list.extend(more.iter().cloned());
            }
            _ => {
                variables.insert(name.clone(), value.clone());
            }
        }
    }
    variables
}
