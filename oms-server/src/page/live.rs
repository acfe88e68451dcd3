//! Tells browsers that what they show has changed.
//!
//! One look at the database, at intervals and only while somebody watches, for all browsers of this
//! server: none has a connection of its own. A browser is told that there is something new, and asks
//! for its page again.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::unfold;
use oms_engine::{Engine, Error, Pulse, WorkflowId};
use tokio::sync::mpsc;

use super::Answer;
use super::entry::Visit;
use crate::app::App;
use crate::refusal::Refusal;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(400);
/// After a look that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(2);
/// Browsers that watch at once.
const WATCHERS_MAX: usize = 500;
/// Runs that one page watches, and all of them.
const RUNS_MAX: usize = 100;
const ALL_RUNS_MAX: usize = 4_000;

/// Who watches.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    watchers: HashMap<u64, Watcher>,
    next: u64,
    /// Whether somebody looks for them.
    looks: bool,
    closed: bool,
}

#[derive(Debug)]
struct Watcher {
    runs: Vec<WorkflowId>,
    /// Whether it is to hear of every start.
    starts: bool,
    /// Whether a look was for it too.
    looked_for: bool,
    /// Whether it has missed nothing since it came; before the first look it may have.
    settled: bool,
    sender: mpsc::Sender<()>,
}

/// Held as long as a browser watches.
#[derive(Debug)]
struct Watching {
    app: App,
    number: u64,
    receiver: mpsc::Receiver<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.app.live.state().watchers.remove(&self.number);
    }
}

impl Live {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all that watch: the server stops.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.watchers.clear();
    }

    /// Whom to look for; none where nobody watches any more.
    fn watched(&self) -> Option<Vec<WorkflowId>> {
        let mut state = self.state();
        if state.watchers.is_empty() {
            state.looks = false;
            return None;
        }
        let mut all = BTreeSet::new();
        for watcher in state.watchers.values_mut() {
            watcher.looked_for = true;
            all.extend(watcher.runs.iter().copied());
        }
        Some(all.into_iter().collect())
    }

    fn tell(&self, before: &Pulse, now: &Pulse) {
        for watcher in self.state().watchers.values_mut().filter(|watcher| watcher.looked_for) {
            let started = watcher.starts && before.starts != now.starts;
            let changed = |id: &WorkflowId| before.runs.get(id) != now.runs.get(id);
            if started || !watcher.settled || watcher.runs.iter().any(changed) {
                watcher.settled = true;
                // Full: it has not heard of the last change yet, and hears of both at once.
                if watcher.sender.try_send(()).is_err() {
                    tracing::trace!("a browser has not heard of the last change yet");
                }
            }
        }
    }
}

fn watch(app: &App, runs: Vec<WorkflowId>, starts: bool) -> Result<Watching, Refusal> {
    let mut state = app.live.state();
    let all: usize = state.watchers.values().map(|watcher| watcher.runs.len()).sum();
    if state.closed || state.watchers.len() >= WATCHERS_MAX || all + runs.len() > ALL_RUNS_MAX {
        return Err(Refusal::busy("too many watch already"));
    }
    let (sender, receiver) = mpsc::channel(1);
    state.next += 1;
    let number = state.next;
    state
        .watchers
        .insert(number, Watcher { runs, starts, looked_for: false, settled: false, sender });
    if !state.looks {
        state.looks = true;
        tokio::spawn(look(app.engine.clone(), app.live.clone()));
    }
    Ok(Watching { app: app.clone(), number, receiver })
}

/// Looks as long as somebody watches.
async fn look(engine: Engine, live: Arc<Live>) {
    let mut before = Pulse::default();
    while let Some(runs) = live.watched() {
        let pause = match engine.pulse(&runs).await {
            Ok(now) => {
                live.tell(&before, &now);
                before = now;
                PAUSE
            }
            Err(Error::Shutdown) => return live.close(),
            Err(error) => {
                tracing::debug!(%error, "looking for changes");
                PAUSE_AFTER_ERROR
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// `?runs=id,id…&starts=1`: an event for each change of these, or of all starts.
pub(super) async fn live(visit: Visit) -> Answer {
    let ids = visit.asked.text("runs").unwrap_or_default();
    let mut runs = Vec::new();
    for id in ids.split(',').filter(|id| !id.is_empty()) {
        runs.push(id.parse().map_err(|_| Refusal::argument("runs", "is no list of ids"))?);
    }
    if runs.len() > RUNS_MAX {
        return Err(Refusal::argument("runs", format!("has more than {RUNS_MAX} ids")));
    }
    let watching = watch(&visit.app, runs, visit.asked.text("starts").is_some())?;
    let events = unfold(watching, |mut watching| async move {
        watching.receiver.recv().await?;
        let event = Event::default().event("changed").data("1");
        Some((Ok::<_, Infallible>(event), watching))
    });
    let keep = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(keep).into_response())
}
