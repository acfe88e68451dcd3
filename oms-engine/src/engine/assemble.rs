//! The parts of an engine, put together.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::waiters::{self, Waiters};
use crate::advance::Core;
use crate::clock::Clock;
use crate::config::{Config, StartMode};
use crate::error::Error;
use crate::maintain::{Shared, run_duties, run_events, run_retention, run_session};
use crate::queue::{Polls, Pump, PumpSettings, Slots, Turns, Wakes};
use crate::store::{Connector, LimitsInForce, Others, Statements};
use crate::worker::{Gatherers, LeaseCheck, LocalWorkers, Registry, Sources, Transactions};

/// Ends of runs that may wait to be told; beyond that whoever waits finds out by polling.
const ENDED_MAX: usize = 16_384;

/// The engine's own threads; they end when it is dropped, also within an async context.
#[derive(Debug)]
pub(super) struct OwnRuntime(pub(super) Option<Runtime>);

impl OwnRuntime {
    pub(super) fn handle(&self) -> Result<Handle, Error> {
        self.0.as_ref().map(|runtime| runtime.handle().clone()).ok_or(Error::Shutdown)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a future to its end on the engine's threads, also when the caller drops its own.
pub(super) async fn run_on<T: Send + 'static>(
    handle: &Handle,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match handle.spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Shutdown),
    }
}

/// Work that runs where it is awaited, without a change of threads, as if it were on the engine's.
/// Where whoever awaits it stops, the rest runs there. For what holds nothing while it waits: a
/// caller may be slow to look.
pub(super) struct InPlace<T: Send + 'static> {
    handle: Handle,
    work: Option<BoxFuture<'static, T>>,
}

impl<T: Send + 'static> InPlace<T> {
    pub(super) fn new(handle: Handle, work: BoxFuture<'static, T>) -> Self {
        Self { handle, work: Some(work) }
    }
}

impl<T: Send + 'static> Future for InPlace<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        // Its timers are the engine's: the caller's threads may have none.
        let _within = this.handle.enter();
        let Some(work) = &mut this.work else { return Poll::Pending };
        let done = std::task::ready!(work.as_mut().poll(cx));
        this.work = None;
        Poll::Ready(done)
    }
}

impl<T: Send + 'static> Drop for InPlace<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.handle.spawn(work);
        }
    }
}

pub(super) async fn prepare(
    core: &Core,
    connector: &Connector,
    mode: StartMode,
    served: &[(String, String)],
) -> Result<LimitsInForce, Error> {
    let (mut client, _notifications) =
        connector.connect().await.map_err(|error| error.unreachable(connector.target()))?;
    tracing::debug!(target = connector.target(), schema = core.store.schema(), "connected");
    connector.refuse_shared_sessions(&client).await?;
    match mode {
        StartMode::Migrate => core.store.migrate(&mut client).await?,
        StartMode::Check => core.store.check_schema(&mut client).await?,
    }
    core.store.record_polls(&client, served).await?;
    core.plans.polls.set(core.store.list_polls(&client).await?);
    core.store.list_limits(&client).await
}

pub(super) struct Parts<'a> {
    pub(super) config: Arc<Config>,
    pub(super) core: Arc<Core>,
    pub(super) connector: Connector,
    pub(super) registry: Registry,
    pub(super) sources: Sources,
    pub(super) user: Handle,
    pub(super) runtime: &'a Handle,
    pub(super) limits: LimitsInForce,
    pub(super) domains: Arc<[(String, String)]>,
}

pub(super) fn assemble(parts: Parts<'_>) -> Result<(Shared, Waiters), Error> {
    let Parts { config, core, connector, registry, sources, .. } = parts;
    let Parts { user, runtime, limits, domains, .. } = parts;
    let slots = Slots::new(config.concurrency, registry.queues(config.concurrency));
    slots.set_limits(limits);
    let worker_name: Arc<str> = Arc::from(config.name.as_str());
    let transactions = Arc::new(Transactions {
        core: core.clone(),
        pool: connector.pool(config.transactional_pool_size, Statements::Users)?,
        slots: slots.clone(),
        worker_name: worker_name.clone(),
    });
    let lease_check = LeaseCheck::new(core.clone(), connector.pool(2, Statements::Ours)?);
    let workers = Arc::new(LocalWorkers {
        registry,
        runtime: user,
        transactions,
        lease_check: Arc::new(lease_check),
        sources,
        gatherers: Gatherers::default(),
    });
    let (session, session_receiver) = watch::channel(None);
    let (ended, ended_receiver) = mpsc::channel(ENDED_MAX);
    let wakes = Arc::new(Wakes::default());
    let turns = Arc::new(Turns::default());
    let polls = Polls::new(slots.clone(), wakes.clone(), runtime.clone());
    let clock = Clock::default();
    let settings = PumpSettings {
        floors: Arc::default(),
        core: core.clone(),
        connector: connector.clone(),
        slots: slots.clone(),
        wakes: wakes.clone(),
        turns: turns.clone(),
        polls: polls.clone(),
        workers,
        session: session_receiver,
        ended,
        clock: clock.clone(),
        worker_name,
    };
    let pumps: Vec<Pump> = (0..config.pumps).map(|_| Pump::new(settings.clone())).collect();
    let wait_pool = connector.pool(1, Statements::Ours)?;
    let event_pool = connector.pool(1, Statements::Ours)?;
    let shared = Shared {
        config,
        core,
        connector,
        slots,
        wakes,
        turns,
        polls,
        domains,
        pumps: pumps.iter().map(Pump::handle).collect(),
        session: Arc::new(session),
        others: Arc::new(watch::channel(Others::None).0),
        clock,
        wait_pool,
        event_pool,
        stop: CancellationToken::new(),
    };
    runtime.spawn(run_session(shared.clone()));
    runtime.spawn(run_duties(shared.clone()));
    runtime.spawn(run_events(shared.clone()));
    runtime.spawn(run_retention(shared.clone()));
    runtime.spawn(slow_poll(shared.clone()));
    for pump in pumps {
        runtime.spawn(pump.run());
    }
    let waiters = waiters::spawn(runtime, &shared, ended_receiver);
    Ok((shared, waiters))
}

/// Looks for work that no wake-up told of.
async fn slow_poll(shared: Shared) {
    loop {
        // Who is alone writes all the tasks that there are.
        let alone = *shared.others.borrow() != Others::Matter;
        let interval = shared.config.poll_interval * if alone { 2 } else { 1 };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {
                let mut queues = shared.slots.queues();
                queues.push(crate::queue::SYSTEM_QUEUE.to_owned());
                shared.wakes.wake_all(queues);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn work_in_place_has_the_engines_timers_and_goes_on_there_when_its_caller_stops() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        let (done, end) = oneshot::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            done.send(()).unwrap();
        };
        let mut work = InPlace::new(runtime.handle().clone(), Box::pin(work));
        // On a thread without timers.
        let looked = Pin::new(&mut work).poll(&mut Context::from_waker(Waker::noop()));
        assert!(looked.is_pending());
        drop(work);
        runtime.block_on(end).unwrap();
    }
}
