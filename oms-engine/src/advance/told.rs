//! What tokens say that engines take themselves: where to go on, and what a container waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::load::Run;
use super::route::domain_in;
use super::rows::millis;
use super::{Acted, Core};
use crate::decide::{
    Event, Fell, Gathered, Graph, Kind, Node, TaskEnd, TaskStatus, TimeoutKind, instance,
};
use crate::definition::Payload;
use crate::error::Error;
use crate::ids::draw_jitter;
use crate::store::{DueToken, HistoryRow, Token, Wanted};

/// What a token says: something to decide, or something that is done already.
pub(super) enum Told {
    Event(Event),
    /// As `Event`, and a run was started whose first task stands in this queue.
    Began(Event, String),
    Done(Acted),
}

/// What a parked `decide` token says: after which step to go on, and what history does not tell
/// of how its attempt ended. None for an event that is not parked.
pub(super) fn parked(event: &Event) -> Option<Value> {
    let (after, retry_after, timeout) = match event {
        Event::Ended(end) => (&*end.reference_name, end.retry_after, end.timeout),
        Event::Continue { after, retry_after, timeout, .. } => (&**after, *retry_after, *timeout),
        Event::Start => return Some(json!({ "start": true })),
        Event::Retry => return Some(json!({ "retry": true })),
        Event::Fell(_) | Event::Run { .. } | Event::Unwind(_) | Event::Undo(_) => return None,
    };
    Some(json!({
        "after": after,
        "retryAfterMs": retry_after.map(millis),
        "timeout": timeout.map(TimeoutKind::as_str),
    }))
}

/// Reads what [`parked`] wrote, and what begins a run.
pub(super) fn decide_event(input: Option<&Value>) -> Option<Event> {
    let input = input?;
    if input.get("start").is_some() {
        return Some(Event::Start);
    }
    if input.get("retry").is_some() {
        return Some(Event::Retry);
    }
    let retry_after = input.get("retryAfterMs").and_then(Value::as_u64);
    let timeout = input.get("timeout").and_then(Value::as_str);
    Some(Event::Continue {
        after: input.get("after")?.as_str()?.to_owned(),
        retry_after: retry_after.map(Duration::from_millis),
        timeout: timeout.and_then(TimeoutKind::from_name),
        jitter: draw_jitter(),
    })
}

/// The end of a token's task.
pub(super) fn ended(
    token: &Token,
    status: TaskStatus,
    output: Option<Value>,
    reason: Option<String>,
) -> TaskEnd {
    TaskEnd {
        reference_name: token.reference_name.clone(),
        attempt: token.attempt,
        status,
        input: token.input.clone().map(Payload::from),
        output: output.map(Payload::from),
        reason,
        retry_after: None,
        timeout: None,
        jitter: draw_jitter(),
    }
}

impl Core {
    /// What a token that engines take themselves says.
    pub(super) async fn told(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        locked: &DueToken,
    ) -> Result<Told, Error> {
        let token = &locked.token;
        if token.reference_name.is_empty() {
            if let Some(told) = self.told_to_undo(tx, run, locked).await? {
                return Ok(told);
            }
            return decide_event(token.input.as_ref()).map(Told::Event).ok_or_else(|| {
                Error::invariant(token.workflow_id, "a decide token does not say what to decide")
            });
        }
        let own = run.state.branch.as_ref().and_then(|b| b.graph.find(&token.reference_name));
        let Some((node, turns)) = own.or_else(|| run.plan.graph.find(&token.reference_name)) else {
            let what = format!("task {:?} is not in its definition", token.reference_name);
            return Err(Error::invariant(token.workflow_id, what));
        };
        let input = Payload::from(token.input.clone().unwrap_or_default());
        let node = node.clone();
        let (reference_name, attempt) = (token.reference_name.clone(), token.attempt);
        Ok(match &node.kind {
            kind if kind.is_container() || kind.is_by_list() => {
                let gathered = self.gather(tx, run, (&node, &turns), &input).await?;
                let note = locked.output.clone();
                let items = token.detail.as_ref().and_then(|detail| detail.get("items"));
                let items = items.cloned().map(Arc::new);
                let fell = Fell { reference_name, attempt, input, items, note, gathered };
                Told::Event(Event::Fell(fell))
            }
            Kind::SubWorkflow { .. } => return self.sub_workflow(tx, run, locked).await,
            Kind::StartWorkflow => return self.start_workflow(tx, run, token).await,
            Kind::Wait | Kind::Human => Told::Event(Event::Ended(ended(
                token,
                TaskStatus::Completed,
                Some(locked.output.clone().unwrap_or_else(|| json!({}))),
                None,
            ))),
            _ => Told::Event(Event::Run { reference_name, attempt, input }),
        })
    }

    /// What a container waited for.
    async fn gather(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        (node, turns): (&Node, &[u32]),
        input: &Value,
    ) -> Result<Vec<Gathered>, Error> {
        let id = run.state.id;
        let keep = input.get("keepLastN").and_then(Value::as_u64);
        let keep = keep.and_then(|keep| u32::try_from(keep).ok());
        // History has the turns of a loop in a loop among those of all turns around it.
        let by_name = keep.is_some() || !turns.is_empty();
        if by_name && matches!(node.kind, Kind::Loop { .. }) {
            return self.gather_last(tx, run, (node, turns), keep.unwrap_or(u32::MAX)).await;
        }
        let names = wanted_of(run, node, turns, input);
        let rows = if matches!(node.kind, Kind::Loop { .. }) {
            let body: Vec<&str> = names.iter().map(String::as_str).collect();
            self.store.load_turns(tx, id, &body).await?
        } else {
            let wanted = names.into_iter().map(|reference_name| Wanted {
                workflow_id: id,
                reference_name,
                in_loop: false,
            });
            self.store.load_facts(tx, &wanted.collect::<Vec<_>>(), false).await?
        };
        Ok(gathered_of(run, node, rows))
    }
}

impl Core {
    /// The last turns of a loop: what came before is not read.
    async fn gather_last(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        (node, turns): (&Node, &[u32]),
        keep: u32,
    ) -> Result<Vec<Gathered>, Error> {
        let id = run.state.id;
        let graph = run.state.branch.as_ref().map_or(&run.plan.graph, |branch| &branch.graph);
        let body: Vec<_> = body_of(graph, node, turns).collect();
        let Some(first) = body.first() else { return Ok(Vec::new()) };
        let wanted = |reference_name, in_loop| Wanted { workflow_id: id, reference_name, in_loop };
        let latest = [wanted(first.reference_name.to_string(), true)];
        let latest = self.store.load_facts(tx, &latest, false).await?;
        let last = latest.first().and_then(|row| graph.find(&row.reference_name));
        let last = last.and_then(|(_, at)| at.last().copied()).unwrap_or(0);
        // The last turn itself, where none is kept, says how far the loop came.
        let from = last.saturating_sub(keep.max(1));
        let of_turn = |turn: u32| {
            let at = [turns, &[turn]].concat();
            body.iter().map(move |node| wanted(instance(&node.reference_name, &at), false))
        };
        let wanted: Vec<Wanted> = (from + 1..=last).flat_map(of_turn).collect();
        let rows = self.store.load_facts(tx, &wanted, false).await?;
        Ok(gathered_of(run, node, rows))
    }
}

/// The steps of a loop's body, less those of loops in it.
fn body_of<'a>(
    graph: &'a Graph,
    of: &Node,
    turns: &[u32],
) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
    let loops = turns.len() + 1;
    let body = (of.index + 1..=of.end).filter_map(|index| graph.get(index));
    body.filter(move |inside| inside.loops == loops)
}

/// What a container waited for: of a JOIN reference names with turns, of a loop those of its body
/// without.
pub(super) fn wanted_of(run: &Run, node: &Node, turns: &[u32], input: &Value) -> Vec<String> {
    if matches!(node.kind, Kind::Loop { .. }) {
        let graph = run.state.branch.as_ref().map_or(&run.plan.graph, |branch| &branch.graph);
        return body_of(graph, node, turns).map(|node| node.reference_name.to_string()).collect();
    }
    let lists = ["joinOn", "defaultExclusiveJoinTask"].map(|key| input.get(key));
    let listed = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let names = listed.filter_map(Value::as_str);
    names.map(|name| instance(name, turns)).collect()
}

/// The last attempts among these rows, in order.
pub(super) fn gathered_of(run: &Run, node: &Node, mut rows: Vec<HistoryRow>) -> Vec<Gathered> {
    if let (true, Some(at)) = (node.kind.is_by_list(), run.state.retried_at) {
        // What failed before an operator's retry is done again.
        rows.retain(|row| row.status.is_successful() || row.ended_at > at);
    }
    let map = run.domains.as_ref().map(|domains| &*domains.map);
    let mut last: BTreeMap<String, (usize, Gathered)> = BTreeMap::new();
    for (number, row) in rows.into_iter().enumerate() {
        let node = run.plan.node(&row.reference_name);
        let gathered = Gathered {
            task_id: run.state.task_id(&row.reference_name, row.attempt).to_string(),
            task_name: match node {
                Some(node) => node.task_name.to_string(),
                None => domain_in(&row.queue, None, map).1.to_owned(),
            },
            status: row.status,
            output: row.output.map(Payload::from),
            reason: row.reason,
            reference_name: row.reference_name,
        };
        last.insert(gathered.reference_name.clone(), (number, gathered));
    }
    let mut gathered: Vec<(usize, Gathered)> = last.into_values().collect();
    gathered.sort_by_key(|(number, _)| *number);
    gathered.into_iter().map(|(_, gathered)| gathered).collect()
}
