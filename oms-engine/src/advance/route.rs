//! Which queue a task is put into. The domain is chosen here, when a decision becomes rows: the
//! decider knows nothing of workers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::decide::Node;
use crate::definition::{TaskToDomain, TaskType};
use crate::store::PollRow;

/// A worker that has asked for work within this time is there.
const ACTIVE: Duration = Duration::from_secs(10);

/// When the workers of each task type and domain last asked for work, as far as this engine has
/// heard: at its last heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    last: Mutex<HashMap<(String, String), Instant>>,
    /// By remote workers, here.
    here: Mutex<HashMap<(String, String), Instant>>,
    /// Queues that remote workers have asked here, in whichever domain.
    queues: Mutex<HashSet<String>>,
}

impl Polls {
    /// Takes what was read.
    pub(crate) fn set(&self, rows: Vec<PollRow>) {
        let now = Instant::now();
        let at = |age_ms: i64| now.checked_sub(Duration::from_millis(age_ms.max(0).unsigned_abs()));
        let mut last: HashMap<_, _> = rows
            .into_iter()
            .filter_map(|row| Some(((row.task_type, row.domain), at(row.age_ms)?)))
            .collect();
        // What was asked since the rows were written.
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend(here.iter().map(|(key, at)| (key.clone(), *at)));
        drop(here);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// A remote worker asks for work here.
    pub(crate) fn asked(&self, task_type: &str, domain: &str) {
        let key = (task_type.to_owned(), domain.to_owned());
        for map in [&self.here, &self.last] {
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            map.insert(key.clone(), Instant::now());
        }
    }

    /// A remote worker asks this queue for work here.
    pub(crate) fn asked_queue(&self, queue: &str) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if !queues.contains(queue) {
            queues.insert(queue.to_owned());
        }
    }

    /// What remote workers have asked for here since this was last asked; queues without a domain.
    pub(crate) fn asked_here(&self) -> Vec<(String, String)> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked: Vec<_> = std::mem::take(&mut *here).into_keys().collect();
        drop(here);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        asked.extend(std::mem::take(&mut *queues).into_iter().map(|queue| (queue, String::new())));
        asked
    }

    fn asked_lately(&self, task_type: &str, domain: &str) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (task_type.to_owned(), domain.to_owned());
        last.get(&key).is_some_and(|at| at.elapsed() < ACTIVE)
    }
}

/// Where the tasks of a run with domains go.
#[derive(Clone, Debug)]
pub(crate) struct Domains {
    pub(crate) map: Arc<TaskToDomain>,
    pub(crate) polls: Arc<Polls>,
}

impl Domains {
    /// Of nobody who was heard of yet.
    pub(super) fn of(map: Arc<TaskToDomain>) -> Self {
        Self { map, polls: Arc::default() }
    }
}

/// The queue of a task, and what is shown as its type where that is another text:
/// `[domain:]type[@namespace][-group]`, and the same without what follows the type.
pub(super) fn queue_of(node: &Node, domains: Option<&Domains>) -> (Arc<str>, Option<Arc<str>>) {
    if !node.kind.is_worker() {
        return (Arc::from(node.queue()), Some(node.task_type.clone()));
    }
    let kind = &*node.task_type;
    // Conductor's own types are in no domain, unless they are named.
    let own = kind == TaskType::Http.as_str();
    let domain = domains.filter(|domains| !own || domains.map.has(kind)).and_then(|domains| {
        domains.map.choose(kind, |domain| domains.polls.asked_lately(kind, domain))
    });
    let of_type = match domain {
        Some(domain) => Arc::from(format!("{domain}:{kind}")),
        None => node.task_type.clone(),
    };
    if node.apart.is_empty() {
        return (of_type, None);
    }
    (Arc::from(format!("{of_type}{}", node.apart)), Some(of_type))
}

/// The domain and type in what is shown of a task.
pub(super) fn domain_in<'a>(
    shown: &'a str,
    node: Option<&Node>,
    map: Option<&TaskToDomain>,
) -> (Option<&'a str>, &'a str) {
    let plain = node.is_some_and(|node| &*node.task_type == shown);
    match (map, shown.split_once(':')) {
        (Some(map), Some((domain, kind))) if !plain && map.names(domain) => (Some(domain), kind),
        _ => (None, shown),
    }
}
