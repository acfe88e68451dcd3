//! Queues: what waits in them, and how many tasks end.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use oms_engine::{Engine, QueueState, Throughput};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Answer;
use super::entry::Visit;
use super::frame::{Frame, html};
use super::text::{count, of, short};
use crate::refusal::Refusal;

/// The database is asked at most so often, however many look.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How the queues stood when somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct QueueBoard(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    queues: Option<(Instant, Vec<QueueState>)>,
    /// None where it could not be counted.
    ended: Option<(Instant, Option<Throughput>)>,
}

#[derive(Template)]
#[template(path = "page/queues.html")]
struct Queues {
    frame: Frame,
    rows: Vec<Row>,
    /// Over what is counted how many ended.
    over: Option<String>,
}

#[derive(Default)]
struct Row {
    name: String,
    ready: String,
    oldest: String,
    leased: String,
    delayed: String,
    ended: String,
}

impl QueueBoard {
    /// The queues, and what ended in them.
    async fn seen(
        &self,
        engine: &Engine,
    ) -> Result<(Vec<QueueState>, Option<Throughput>), Refusal> {
        let mut board = self.0.lock().await;
        let queues = board.queues.as_ref().filter(|(at, _)| at.elapsed() < LOOK_EVERY);
        let queues = match queues {
            Some((_, queues)) => queues.clone(),
            None => {
                let queues = engine.queues().await?;
                board.queues = Some((Instant::now(), queues.clone()));
                queues
            }
        };
        let ended = board.ended.as_ref().filter(|(at, _)| at.elapsed() < COUNT_EVERY);
        let ended = match ended {
            Some((_, ended)) => ended.clone(),
            None => {
                let ended = engine.throughput().await;
                let ended = ended.inspect_err(|error| tracing::debug!(%error, "counting ends"));
                board.ended = Some((Instant::now(), ended.as_ref().ok().cloned()));
                ended.ok()
            }
        };
        Ok((queues, ended))
    }
}

/// How many a minute that is; of few also tenths.
fn rate(ended: i64, over: Duration) -> String {
    let over = i64::try_from(over.as_millis()).unwrap_or(i64::MAX).max(1);
    let tenths = ended.saturating_mul(600_000) / over;
    match tenths {
        1..100 => format!("{}.{}", tenths / 10, tenths % 10),
        0 if ended > 0 => "under 0.1".to_owned(),
        _ => count(tenths / 10),
    }
}

/// What has waited longest is what to look at first; then the queues in which nothing waits.
fn rows(mut queues: Vec<QueueState>, ended: Option<&Throughput>) -> Vec<Row> {
    queues.sort_by(|a, b| b.oldest.cmp(&a.oldest).then_with(|| a.name.cmp(&b.name)));
    let over = ended.map(|ended| ended.over).unwrap_or_default();
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    left.extend(ended.iter().flat_map(|all| &all.ended).map(|(name, n)| (name.as_str(), *n)));
    let row = |queue: &QueueState, n: Option<i64>| Row {
        name: short(&queue.name, 160),
        ready: count(queue.ready),
        oldest: queue.oldest.map(of).unwrap_or_default(),
        leased: count(queue.leased),
        delayed: count(queue.delayed),
        ended: ended.map(|_| rate(n.unwrap_or(0), over)).unwrap_or_default(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for queue in &queues {
        rows.push(row(queue, left.remove(queue.name.as_str())));
    }
    let none = || count(0);
    rows.extend(left.into_iter().map(|(name, n)| Row {
        name: short(name, 160),
        ready: none(),
        leased: none(),
        delayed: none(),
        ended: rate(n, over),
        ..Row::default()
    }));
    rows
}

pub(super) async fn queues(visit: Visit) -> Answer {
    let (queues, ended) = visit.app.queues.seen(&visit.app.engine).await?;
    html(&Queues {
        frame: Frame::of(&visit, "queues"),
        rows: rows(queues, ended.as_ref()),
        over: ended.map(|ended| of(ended.over)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_with_tenths_and_some_are_never_none() {
        let rate = |ended, ms| rate(ended, Duration::from_millis(ms));
        assert_eq!(rate(0, 300_000), "0");
        assert_eq!(rate(1, 300_000), "0.2");
        assert_eq!(rate(1, 3_000_000), "under 0.1");
        assert_eq!(rate(49, 300_000), "9.8");
        assert_eq!(rate(50, 300_000), "10");
        assert_eq!(rate(40_000, 1_500), "1,600,000");
    }
}
