//! Remote workers that wait for tasks, and the tasks that they have.
//!
//! A poll is a wish for slots. What a pump leases in such a slot is given to whoever has waited
//! longest; the polls that got something are answered when the pump has handed out all that one
//! statement leased. A task that does not reach its worker comes back at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::handed::{HandedOut, Outcome, PumpHandle, PumpMessage, Report};
use super::{Slots, Wakes};
use crate::ids::TaskId;

/// Set when a remote worker has got a task; says who.
pub(crate) type Delivery = Arc<OnceLock<Arc<str>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Polls {
    slots: Arc<Slots>,
    wakes: Arc<Wakes>,
    runtime: Handle,
    waiting: Mutex<WaitingPolls>,
    /// Tasks that a pump knows of, and that remote workers have.
    known: Mutex<HashMap<TaskId, KnownTask>>,
    closed: AtomicBool,
}

/// Where to report a task that remote workers have.
#[derive(Clone, Debug)]
pub(crate) struct KnownTask {
    pub(crate) token_id: i64,
    pub(crate) pump: PumpHandle,
    pub(crate) queue: Arc<str>,
}

#[derive(Debug, Default)]
struct WaitingPolls {
    /// Those of one queue by id. Those who have got something are the first.
    queues: BTreeMap<String, VecDeque<Waiting>>,
    /// Where some have got something and are not answered yet.
    to_answer: BTreeSet<String>,
    next_id: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    room: usize,
    got: Vec<Lent>,
    answer: oneshot::Sender<Vec<Lent>>,
}

/// A task that is on its way to a remote worker.
#[derive(Debug)]
pub(crate) struct Lent {
    task: Option<HandedOut>,
    runtime: Handle,
}

impl Lent {
    pub(crate) const fn task(&self) -> Option<&HandedOut> {
        self.task.as_ref()
    }

    /// The worker of this name has it.
    pub(crate) fn delivered(mut self, worker: &Arc<str>) {
        let Some(task) = self.task.take() else { return };
        if let Some(delivery) = &task.delivery
            && delivery.set(worker.clone()).is_err()
        {
            tracing::debug!(task_id = %task.task_id(), "a task was delivered twice");
        }
    }

    /// It cannot be given to anybody: this becomes of it.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Outcome) {
        let Some(task) = self.task.take() else { return };
        let (token_id, log) = (task.token.id, Vec::new());
        let report = Report { token_id, outcome, log, worker: None, answer: None };
        self.runtime.spawn(task.tell(PumpMessage::Report(report)));
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.report(Outcome::Abandoned);
    }
}

/// Somebody who waits; dropped, he does so no longer.
#[derive(Debug)]
pub(crate) struct Poll {
    polls: Arc<Polls>,
    queue: String,
    id: u64,
    answer: oneshot::Receiver<Vec<Lent>>,
}

impl Poll {
    /// What came. Empty: the engine is shutting down.
    pub(crate) async fn answered(&mut self) -> Vec<Lent> {
        (&mut self.answer).await.unwrap_or_default()
    }

    /// What came, if that is so already.
    pub(crate) fn has_been_answered(&mut self) -> Option<Vec<Lent>> {
        match self.answer.try_recv() {
            Ok(lent) => Some(lent),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Vec::new()),
        }
    }

    /// What has come by now.
    pub(crate) fn give_up(mut self) -> Vec<Lent> {
        self.polls.forget(&self.queue, self.id).unwrap_or_else(|| {
            // It was answered just now.
            self.answer.try_recv().unwrap_or_default()
        })
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        drop(self.polls.forget(&self.queue, self.id));
    }
}

/// A task of a remote worker that a pump knows of.
#[derive(Debug)]
pub(crate) struct Known {
    polls: Arc<Polls>,
    task_id: TaskId,
    token_id: i64,
    pub(crate) delivery: Delivery,
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut known = lock(&self.polls.known);
        if known.get(&self.task_id).is_some_and(|task| task.token_id == self.token_id) {
            known.remove(&self.task_id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Polls {
    pub(crate) fn new(slots: Arc<Slots>, wakes: Arc<Wakes>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            slots,
            wakes,
            runtime,
            waiting: Mutex::default(),
            known: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Begins to wait for up to `most` tasks of a queue. `name` is what stands in it for the task
    /// definition.
    pub(crate) fn wait(self: &Arc<Self>, queue: &str, name: &str, most: usize) -> Poll {
        let (sender, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.next_id += 1;
        let id = waiting.next_id;
        let poll = Poll { polls: self.clone(), queue: queue.to_owned(), id, answer };
        if self.closed.load(Ordering::Acquire) {
            return poll;
        }
        let room = Waiting { id, room: most, got: Vec::new(), answer: sender };
        waiting.queues.entry(queue.to_owned()).or_default().push_back(room);
        drop(waiting);
        let new = self.slots.ask(queue, name, most);
        if new || self.wakes.is_flagged(queue) {
            self.wakes.wake(queue);
        }
        poll
    }

    /// Nobody waits any more, or will.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let all = std::mem::take(&mut lock(&self.waiting).queues);
        for (queue, polls) in all {
            for poll in polls {
                self.slots.unask(&queue, poll.room);
                answer(poll);
            }
        }
    }

    /// None: it is not there any more.
    fn forget(&self, queue: &str, id: u64) -> Option<Vec<Lent>> {
        let mut waiting = lock(&self.waiting);
        let polls = waiting.queues.get_mut(queue)?;
        let at = polls.binary_search_by_key(&id, |poll| poll.id).ok()?;
        let poll = polls.remove(at)?;
        if polls.is_empty() {
            waiting.queues.remove(queue);
        }
        drop(waiting);
        self.slots.unask(queue, poll.room);
        Some(poll.got)
    }

    /// Gives a task to whoever has waited longest; if nobody does it comes back at once.
    pub(crate) fn deliver(&self, task: HandedOut) {
        let mut waiting = lock(&self.waiting);
        let WaitingPolls { queues, to_answer, .. } = &mut *waiting;
        let queue = &*task.token.queue;
        let poll = queues.get_mut(queue).and_then(|polls| polls.iter_mut().find(|p| p.room > 0));
        if poll.is_some() && !to_answer.contains(queue) {
            to_answer.insert(queue.to_owned());
        }
        let leased = task.leased.clone();
        let lent = Lent { task: Some(task), runtime: self.runtime.clone() };
        if let Some(poll) = poll {
            poll.room -= 1;
            poll.got.push(lent);
            leased.slot.used();
        }
    }

    /// Answers the polls that have got something.
    pub(crate) fn answer(&self) {
        let mut waiting = lock(&self.waiting);
        let mut ready = Vec::new();
        for queue in std::mem::take(&mut waiting.to_answer) {
            let Some(polls) = waiting.queues.get_mut(&queue) else { continue };
            while polls.front().is_some_and(|poll| !poll.got.is_empty()) {
                ready.extend(polls.pop_front().map(|poll| (queue.clone(), poll)));
            }
            if polls.is_empty() {
                waiting.queues.remove(&queue);
            }
        }
        drop(waiting);
        for (queue, poll) in ready {
            self.slots.unask(&queue, poll.room);
            answer(poll);
        }
    }

    /// A pump knows a task that a remote worker has or is to get.
    pub(crate) fn know(self: &Arc<Self>, task_id: TaskId, task: KnownTask) -> Known {
        let token_id = task.token_id;
        lock(&self.known).insert(task_id.clone(), task);
        Known { polls: self.clone(), task_id, token_id, delivery: Delivery::default() }
    }

    /// Where to report a task, if a pump knows it.
    pub(crate) fn find(&self, task_id: &TaskId) -> Option<KnownTask> {
        lock(&self.known).get(task_id).cloned()
    }
}

fn answer(poll: Waiting) {
    // Who has gone meanwhile gives back what he got: it is dropped.
    drop(poll.answer.send(poll.got));
}
