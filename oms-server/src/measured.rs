//! Metrics in Prometheus' text format, for `GET /metrics`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use oms_engine::telemetry::{self, Metric, MetricKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::App;

/// Refused for who sent them; counted as `GET /api/admin/config` does.
pub(crate) const REFUSED: &str = "oms_requests_refused_total";

/// What the server adds to the metrics of the engine ([`telemetry::METRICS`]).
pub const METRICS: [Metric; 1] = [Metric::new(
    REFUSED,
    MetricKind::Counter,
    &["reason"],
    "Requests refused for who sent them: unknown (401), forbidden (403), foreign (another origin).",
)];

const SECONDS: [f64; 13] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0];
const SIZES: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0];

/// The database is asked for its queues at most so often, however many scrape.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Observations are folded together so often where nobody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Recorder> = OnceLock::new();

/// The recorder of this process.
#[derive(Clone, Debug)]
pub struct Recorder(PrometheusHandle);

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The program has a recorder of another kind.
    #[error("this process has another recorder of metrics")]
    Another,
    /// The exporter was set up wrongly.
    #[error("the recorder of metrics: {0}")]
    Build(#[from] BuildError),
}

impl Recorder {
    /// Installs the recorder of this process, or gives the one that was installed by this before.
    /// Call it before an engine is built, which keeps what it was first given.
    ///
    /// # Errors
    /// [`RecorderError::Another`] in a program that has installed one itself: it then shows its
    /// metrics itself.
    pub fn install() -> Result<Self, RecorderError> {
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let size = Matcher::Full(telemetry::BATCH_SIZE.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(size, &SIZES)?
            .build_recorder();
        let own = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|_| RecorderError::Another)?;
        telemetry::describe();
        METRICS.iter().for_each(Metric::describe);
        Ok(INSTALLED.get_or_init(|| own).clone())
    }

    /// Keeps what was observed small until it is dropped.
    pub(crate) async fn fold(self) {
        loop {
            tokio::time::sleep(FOLD_EVERY).await;
            self.0.run_upkeep();
        }
    }
}

/// When the queues were last looked at.
pub(crate) type Looked = Mutex<Option<Instant>>;

/// All metrics, with the queues as they were a moment ago.
pub(crate) async fn rendered(app: &App, recorder: &Recorder) -> String {
    let mut looked = app.looked.lock().await;
    if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
        *looked = Some(Instant::now());
        // A scrape is answered all the same: the rest is the process's own.
        if let Err(error) = app.engine.measure_queues().await {
            tracing::warn!(%error, "the queues could not be measured");
        }
    }
    drop(looked);
    recorder.0.render()
}
