//! Loops: their turns, and what they give.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::flow::{After, Place, Walk, Work};
use super::graph::instance;
use super::node::Kind;
use super::scope::RunScope;
use super::state::OpenLoop;
use super::status::TaskStatus;
use super::{DecideError, Gathered, Scope, system};
use crate::definition::{Payload, TASK_PAYLOAD_MAX_BYTES};

impl Walk<'_> {
    /// Opens a loop; its first turn comes when what is scheduled with it has its numbers.
    pub(super) fn open_loop(
        &mut self,
        place: &Place,
        attempt: i16,
        input: Payload,
    ) -> Result<(), DecideError> {
        let items = match &place.node.kind {
            Kind::Loop { items: Some(items), .. } => {
                let name = place.name();
                let scope = RunScope::for_task(self.plan, self.state, &name, attempt);
                let what = format_args!("items of task {:?}", place.node.reference_name);
                // The older form counts where the newer one gives nothing.
                match items.resolve(&scope, what, TASK_PAYLOAD_MAX_BYTES) {
                    Ok(Value::Null) => Some(list_of(input.get("_items").cloned())),
                    Ok(items) => Some(list_of(Some(items))),
                    Err(fault) => return self.fail_at_once(place, attempt, fault),
                }
            }
            _ => None,
        };
        let open = OpenLoop {
            turns: place.turns.clone(),
            turn: 0,
            input: input.clone(),
            items: items.clone(),
        };
        self.state.loops.insert(place.node.reference_name.to_string(), open);
        let key = self.new_container(place, 1);
        let entry = self.push_container(key, place, attempt, input);
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.items = items;
        }
        self.work.push_back(Work::Do(Some(entry), place.clone()));
        Ok(())
    }

    /// Begins the first turn of a loop that this decision has opened.
    pub(super) fn begin_loop(&mut self, entry: usize, place: &Place) -> Result<(), DecideError> {
        let key = self.out.scheduled.get(entry).and_then(|scheduled| scheduled.key);
        let attempt = self.out.scheduled.get(entry).map_or(0, |scheduled| scheduled.attempt);
        let empty = self.state.loops.get(&*place.node.reference_name).is_some_and(|open| {
            open.items.as_ref().is_some_and(|items| items.as_array().is_none_or(Vec::is_empty))
        });
        if empty {
            self.state.loops.remove(&*place.node.reference_name);
            let after = After::completed(attempt, json!({ "iteration": 0 }));
            return self.judge(Some(entry), place, &after);
        }
        let scope = key.map_or(place.scope, Scope::Opened);
        self.begin_turn(&Place { scope, ..place.clone() }, 1)
    }

    /// Begins a turn. The scope of `place` is that of the body.
    fn begin_turn(&mut self, place: &Place, turn: u32) -> Result<(), DecideError> {
        if let Some(open) = self.state.loops.get_mut(&*place.node.reference_name) {
            open.turn = turn;
        }
        let Kind::Loop { body: Some(body), .. } = place.node.kind else { return Ok(()) };
        let Some(node) = self.graph(place).get(body).cloned() else { return Ok(()) };
        let mut turns = place.turns.clone();
        turns.push(turn);
        let region = match place.scope {
            Scope::Opened(_) => place.scope,
            Scope::Source | Scope::Around => Scope::Around,
        };
        self.schedule(Place { node, turns, region, ..place.clone() })
    }

    /// After a turn of a loop: another, or its end. The scope of `place` is that of the body.
    pub(super) fn turn(&mut self, place: &Place) -> Result<(), DecideError> {
        let name = &place.node.reference_name;
        let Some(open) = self.state.loops.get(&**name).cloned() else {
            return Err(DecideError::NotEnded(place.name().to_string()));
        };
        if let Some(reason) = self.failure_in(place, &open) {
            let failed = TaskStatus::Failed.as_str();
            return self.arrive(place.scope, Some(json!({ "reason": reason, "status": failed })));
        }
        match self.goes_on(place, &open) {
            Ok(true) => self.begin_turn(place, open.turn + 1),
            Ok(false) => self.arrive(place.scope, None),
            Err(Stop::Fresh) => Err(DecideError::NeedsFresh),
            Err(Stop::Failed(reason)) => {
                self.arrive(place.scope, Some(json!({ "reason": reason })))
            }
        }
    }

    /// Why a task of this turn failed that the turn went on after.
    fn failure_in(&self, place: &Place, open: &OpenLoop) -> Option<String> {
        let mut turns = place.turns.clone();
        turns.push(open.turn);
        let body = self.graph(place).nodes.get(place.node.index + 1..=place.node.end)?;
        let facts = body
            .iter()
            .filter(|node| node.permissive && !node.optional)
            .filter_map(|node| self.state.facts.get(&*node.reference_name));
        let failed =
            facts.filter(|fact| fact.turns.starts_with(&turns) && !fact.status.is_successful());
        failed.map(|fact| format!("{} ", fact.reason.as_deref().unwrap_or_default())).next()
    }

    fn goes_on(&self, place: &Place, open: &OpenLoop) -> Result<bool, Stop> {
        let Kind::Loop { condition, body, .. } = &place.node.kind else { return Ok(false) };
        if let (Some(done), Some(body)) = (&self.state.done, body)
            && let Some(first) = self.graph(place).get(*body)
        {
            let mut turns = place.turns.clone();
            turns.push(open.turn + 1);
            if done.contains_key(&instance(&first.reference_name, &turns)) {
                return Ok(true);
            }
        }
        let items = open.items.as_ref().and_then(|items| items.as_array());
        let turn = usize::try_from(open.turn).unwrap_or(usize::MAX);
        let more = items.is_none_or(|items| turn < items.len());
        let Some(condition) = condition else { return Ok(items.is_some() && more) };
        if !self.state.fresh {
            return Err(Stop::Fresh);
        }
        let input = self.condition_input(place, open);
        match system::script(condition, &input) {
            Ok(value) => Ok(holds(&value) && more),
            Err(error) => Err(Stop::Failed(format!(
                "Unable to evaluate condition {condition}, exception {error}"
            ))),
        }
    }

    /// What a loop's condition sees: the loop's input as it is now, the loop itself, its item, and
    /// what the steps of its body gave last.
    fn condition_input(&self, place: &Place, open: &OpenLoop) -> Value {
        let name = place.name();
        let mut input =
            match super::input_of(self.plan, self.state, &place.node, &name, 0).into_value() {
                Value::Object(input) => input,
                _ => Map::new(),
            };
        input.extend(open.output().into_iter().filter(|(key, _)| key != "iteration"));
        let body = self.graph(place).nodes.get(place.node.index + 1..=place.node.end);
        for node in body.unwrap_or_default() {
            let Some(fact) = self.state.facts.get(&*node.reference_name) else { continue };
            if let Some(output) = &fact.output {
                input.insert(node.reference_name.to_string(), Value::clone(output));
            }
        }
        input.insert(place.node.reference_name.to_string(), Value::Object(open.output()));
        Value::Object(input)
    }

    /// How a loop ended, from the tasks of its turns.
    pub(super) fn loop_end(
        &mut self,
        place: &Place,
        attempt: i16,
        note: Option<&Value>,
        gathered: &[Gathered],
    ) -> After {
        let open = self.state.loops.remove(&*place.node.reference_name);
        let mut turns: Map<String, Value> = Map::new();
        let mut last = 0;
        for task in gathered {
            let Some((node, at)) = self.graph(place).find(&task.reference_name) else { continue };
            let (Some((turn, outer)), true) = (at.split_last(), at.len() == place.turns.len() + 1)
            else {
                continue;
            };
            let inside = node.index > place.node.index && node.index <= place.node.end;
            if !inside || *outer != *place.turns {
                continue;
            }
            last = last.max(*turn);
            let output = task.output.as_deref().cloned().unwrap_or_else(|| json!({}));
            let of_turn = turns.entry(turn.to_string()).or_insert_with(|| json!({}));
            if let Some(of_turn) = of_turn.as_object_mut() {
                of_turn.insert(node.reference_name.to_string(), output);
            }
        }
        let open_turn = open.as_ref().map_or(0, |open| open.turn);
        let last = last.max(open_turn);
        let keep = open.as_ref().and_then(|open| open.input.get("keepLastN")?.as_u64());
        if let Some(keep) = keep.and_then(|keep| u32::try_from(keep).ok()) {
            turns.retain(|turn, _| turn.parse::<u32>().is_ok_and(|turn| turn + keep > last));
        }
        match open {
            Some(open) => turns.extend(OpenLoop { turn: last, ..open }.output()),
            None => {
                turns.insert("iteration".to_owned(), json!(last));
            }
        }
        let mut after = After::completed(attempt, Value::Object(turns));
        if let Some(reason) = note.and_then(|note| note.get("reason")?.as_str()) {
            let failed = note.and_then(|note| note.get("status")).is_some();
            after.status =
                if failed { TaskStatus::Failed } else { TaskStatus::FailedWithTerminalError };
            after.reason = Some(reason.to_owned());
        }
        after
    }
}

enum Stop {
    Fresh,
    Failed(String),
}

/// What is no list is a list of one; nothing is an empty one.
fn list_of(items: Option<Value>) -> Arc<Value> {
    Arc::new(match items {
        None | Some(Value::Null) => json!([]),
        Some(Value::Array(items)) => Value::Array(items),
        Some(one) => json!([one]),
    })
}

/// As Conductor has it: what is neither true nor a number above zero does not hold.
fn holds(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
