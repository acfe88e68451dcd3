//! Tables in memory: what the hot statement does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::advance::route::{Domains, Polls};
use crate::advance::rows::opened_rows;
use crate::decide::{Plan, SYSTEM_QUEUE, Scheduled, TaskStatus, WorkflowStatus};
use crate::definition::Limits;
use crate::ids::WorkflowId;
use crate::store::{EndedRow, HistoryRow, OpenTaskRow, OpenedRow, RunRow, Token, TokenState};
use crate::telemetry::Lineage;

/// A token with what the engine's own table has of it.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) row: OpenTaskRow,
    pub(super) due: Option<DateTime<Utc>>,
    pub(super) expires: Option<DateTime<Utc>>,
    pub(super) timeout_ms: Option<i64>,
    pub(super) poll_timeout_ms: Option<i64>,
}

impl Open {
    /// How long nothing need be heard of it, while it waits to be ended from outside.
    pub(super) fn silence_ms(&self) -> Option<i64> {
        let kind = self.row.task_type.as_deref();
        let outside = kind == Some(&*self.row.token.queue);
        self.poll_timeout_ms.filter(|_| outside && matches!(kind, Some("WAIT" | "HUMAN")))
    }

    /// It can be taken, or is taken, from now on.
    pub(super) fn begins(&mut self, state: TokenState, now: DateTime<Utc>) {
        self.row.token.state = state;
        let waits = state == TokenState::Ready && &*self.row.token.queue != SYSTEM_QUEUE;
        let ms = if waits { self.poll_timeout_ms } else { self.timeout_ms };
        let due = ms.map(|ms| now + Duration::milliseconds(ms));
        self.due = due.into_iter().chain(self.expires).min();
    }
}

/// A run with what the engine's own table has of it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) row: RunRow,
    pub(super) plan: Arc<Plan>,
    pub(super) deadline: Option<DateTime<Utc>>,
    pub(super) cuts: Vec<Cut>,
}

/// From where on an epoch hides history, and what of that stays.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) epoch: i16,
    pub(super) seq: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) kept: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) runs: BTreeMap<WorkflowId, Record>,
    pub(super) history: Vec<HistoryRow>,
    pub(super) open: BTreeMap<i64, Open>,
    pub(super) now: DateTime<Utc>,
    /// Limits by task, and what was handed out of those that have a rate.
    pub(super) limits: BTreeMap<String, Limits>,
    pub(super) handed_out: Vec<(String, DateTime<Utc>)>,
    /// Queues of domains that have a worker.
    pub(super) served: BTreeSet<String>,
    pub(super) polls: Arc<Polls>,
    numbers: i64,
}

impl Tables {
    pub(super) fn new() -> Self {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Self {
            runs: BTreeMap::new(),
            history: Vec::new(),
            open: BTreeMap::new(),
            now,
            limits: BTreeMap::new(),
            handed_out: Vec::new(),
            served: BTreeSet::new(),
            polls: Arc::default(),
            numbers: 0,
        }
    }

    pub(super) fn number(&mut self) -> i64 {
        self.numbers += 1;
        // No two things happen at once.
        self.now += Duration::microseconds(1);
        self.numbers
    }

    fn after(&self, ms: Option<i64>) -> Option<DateTime<Utc>> {
        ms.map(|ms| self.now + Duration::milliseconds(ms))
    }

    pub(super) fn add_run(
        &mut self,
        plan: &Arc<Plan>,
        input: Value,
        correlation_id: Option<String>,
        parent: Option<(WorkflowId, i64)>,
    ) -> WorkflowId {
        let number = self.number();
        let id = WorkflowId::from_uuid(Uuid::from_u128(u128::from(number.unsigned_abs())));
        let row = RunRow {
            id,
            definition_id: plan.definition_id,
            name: plan.name.to_string(),
            version: plan.def.version,
            status: WorkflowStatus::Running,
            priority: 0,
            epoch: 0,
            input: Arc::new(input),
            variables: plan.variables.clone(),
            output: None,
            reason: None,
            correlation_id,
            idempotency_key: None,
            parent_id: parent.map(|parent| parent.0),
            failed_task: None,
            failure_workflow_id: None,
            has_cuts: false,
            created_at: self.now,
            ended_at: None,
            last_retried_at: None,
            overdue: false,
            replays: false,
            parent_token: parent.map(|parent| parent.1),
            resumes: false,
            given: None,
            task_to_domain: None,
            lineage: Lineage::default(),
            undo: None,
        };
        let deadline = self.after(plan.timeout_ms);
        let record = Record { row, plan: plan.clone(), deadline, cuts: Vec::new() };
        self.runs.insert(id, record);
        self.open_decide(id, json!({ "start": true }));
        id
    }

    /// A token of no task.
    pub(super) fn open_decide(&mut self, id: WorkflowId, then: Value) {
        let epoch = self.runs[&id].row.epoch;
        let row = OpenedRow {
            source: 0,
            reference_name: Arc::default(),
            attempt: 0,
            queue: SYSTEM_QUEUE.into(),
            task_type: None,
            state: TokenState::Ready,
            status: None,
            delay_ms: None,
            due: None,
            timeout_ms: None,
            poll_timeout_ms: None,
            total_ms: None,
            set_aside: 0,
            reason: None,
            input: Some(then.into()),
            output: None,
            detail: None,
            remaining: None,
            container: None,
        };
        self.insert((id, epoch), None, None, row);
    }

    fn insert(
        &mut self,
        (id, epoch): (WorkflowId, i16),
        scope: Option<i64>,
        expires: Option<DateTime<Utc>>,
        row: OpenedRow,
    ) -> i64 {
        let number = self.number();
        // A worker of the case takes its task at once.
        let state = match row.state {
            TokenState::Ready if &*row.queue != SYSTEM_QUEUE && self.begins_at_once(&row.queue) => {
                TokenState::Leased
            }
            state => state,
        };
        let due = row.due.or_else(|| match state {
            TokenState::Ready => self.after(row.poll_timeout_ms),
            TokenState::Leased => self.after(row.timeout_ms),
            TokenState::Delayed | TokenState::Container => self.after(row.delay_ms),
        });
        let mut queue = row.queue;
        let at_most = row.due.and_then(|_| self.after(row.timeout_ms));
        if let (Some(due), Some(at_most), Some(kind)) = (due, at_most, &row.task_type)
            && due >= at_most
        {
            queue = kind.clone();
        }
        let outside = row.task_type.as_deref() == Some(&*queue);
        let due = [due, at_most, expires].into_iter().flatten().min();
        let token = Token {
            id: number,
            workflow_id: id,
            reference_name: row.reference_name.clone(),
            epoch,
            attempt: row.attempt,
            queue,
            state,
            rev: 0,
            priority: 0,
            set_aside: row.set_aside,
            poll_count: i32::from(state == TokenState::Leased),
            started_at: outside.then_some(self.now),
            due_at: due,
            input: row.input.map(|input| Value::clone(&input)),
            detail: row.detail,
            scope,
        };
        let open = OpenTaskRow {
            token,
            seq: number,
            scheduled_at: self.now,
            worker: None,
            reason: row.reason,
            output: row.output.map(|output| Value::clone(&output)),
            task_type: row.task_type.map(|kind| kind.to_string()),
            remaining: row.remaining,
        };
        let (timeout_ms, poll_timeout_ms) = (row.timeout_ms, row.poll_timeout_ms);
        let open = Open { row: open, due, expires, timeout_ms, poll_timeout_ms };
        self.open.insert(number, open);
        number
    }

    /// What the hot statement does with one ended token and what follows it.
    /// Out: the tokens of what is open now, by its number among what is scheduled.
    pub(super) fn advance(
        &mut self,
        ended: EndedRow,
        scheduled: &[Scheduled],
        around: Option<i64>,
    ) -> BTreeMap<usize, i64> {
        let open = self.open.remove(&ended.token_id).expect("a token that is there");
        let token = open.row.token.clone();
        let id = token.workflow_id;
        self.now += Duration::microseconds(1);
        if !token.reference_name.is_empty() {
            let queue = open.row.task_type.clone().unwrap_or_else(|| token.queue.to_string());
            let input =
                ended.input.map(|input| Value::clone(&input)).or_else(|| token.input.clone());
            self.history.push(HistoryRow {
                workflow_id: id,
                reference_name: token.reference_name.to_string(),
                epoch: token.epoch,
                attempt: token.attempt,
                status: ended.status,
                seq: open.row.seq,
                queue,
                poll_count: token.poll_count,
                input,
                output: ended.output.map(|output| Value::clone(&output)),
                worker: None,
                reason: ended.reason,
                scheduled_at: open.row.scheduled_at,
                started_at: None,
                ended_at: self.now,
            });
        }
        if let (Some(Value::Object(set)), Some(record)) = (ended.variables, self.runs.get_mut(&id))
        {
            Arc::make_mut(&mut record.row.variables).as_object_mut().unwrap().extend(set);
        }
        let map = self.runs[&id].row.task_to_domain.clone();
        let domains = map.map(|map| Domains { map, polls: self.polls.clone() });
        let rows = opened_rows(scheduled, token.id, around, domains.as_ref());
        let opened = self.schedule(&open, rows);
        if ended.arrives {
            self.count_down(token.scope.expect("it stands in a container"), ended.note);
        }
        opened
    }

    fn schedule(&mut self, source: &Open, rows: Vec<OpenedRow>) -> BTreeMap<usize, i64> {
        let mut opened = BTreeMap::new();
        let token = &source.row.token;
        let after = token.input.as_ref().and_then(|input| input.get("after")?.as_str());
        let own =
            if token.reference_name.is_empty() { after } else { Some(&*token.reference_name) };
        let mut ids = Vec::new();
        // Ids of containers come before what stands in them.
        let from = self.numbers;
        for number in (1_i64..).take(rows.len()) {
            ids.push(from + number);
        }
        for (number, row) in rows.into_iter().enumerate() {
            let scope = match row.container {
                Some(0) => None,
                Some(id) if id < 0 => Some(-id),
                Some(number) => Some(ids[usize::try_from(number - 1).unwrap()]),
                None => token.scope,
            };
            let retried = Some(&*row.reference_name) == own;
            let expires = if retried { source.expires } else { self.after(row.total_ms) };
            match row.status {
                Some(status) => self.append(token, row, status),
                None => {
                    let of = (token.workflow_id, token.epoch);
                    opened.insert(number, self.insert(of, scope, expires, row));
                }
            }
        }
        opened
    }

    fn append(&mut self, source: &Token, row: OpenedRow, status: TaskStatus) {
        let seq = self.number();
        self.history.push(HistoryRow {
            workflow_id: source.workflow_id,
            reference_name: row.reference_name.to_string(),
            epoch: source.epoch,
            attempt: row.attempt,
            status,
            seq,
            queue: row.task_type.unwrap_or(row.queue).to_string(),
            poll_count: 0,
            input: row.input.map(|input| Value::clone(&input)),
            output: row.output.map(|output| Value::clone(&output)),
            worker: None,
            reason: row.reason,
            scheduled_at: self.now,
            started_at: None,
            ended_at: self.now,
        });
    }

    pub(super) fn count_down(&mut self, target: i64, note: Option<Value>) {
        let waits = |open: &&mut Open| open.row.token.state == TokenState::Container;
        let Some(open) = self.open.get_mut(&target).filter(waits) else { return };
        let remaining = open.row.remaining.expect("a container") - 1;
        assert!(remaining >= 0, "{open:?} waits for fewer");
        open.row.remaining = Some(remaining);
        if note.is_some() {
            open.row.output = note;
        }
        if remaining == 0 {
            open.row.token.state = TokenState::Ready;
        }
    }
}
