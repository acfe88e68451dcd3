//! Delivers the notifications that the stages wrote.
//!
//! At least once: a sender that dies between the delivery and its commit delivers again, under
//! the same [`message_id`](crate::ports::Message::message_id). Several senders share the work.
//! The messages of one order keep their order while one sender runs and no delivery fails.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Transaction};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing as _, Error};
use crate::ports::{Message, Notifier, PortError};
use crate::sql::{CLAIM_NOTIFICATIONS, SETTLE_NOTIFICATIONS, get};

/// Messages of one order that a batch delivers at most, one after the other; more wait for the next.
const OF_ORDER: u32 = 12;
/// What the statements of a batch may take together.
const DATABASE_DEADLINE: Duration = Duration::from_secs(20);

/// How a [`Sender`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SenderOptions {
    /// Notifications that are claimed at once; their rows are locked while they are delivered.
    pub batch: u16,
    /// The pause when nothing is due.
    pub poll_interval: Duration,
    /// How long the delivery of one message may take.
    pub deadline: Duration,
    /// The pause before the second attempt; doubled with each further one.
    pub retry_min: Duration,
    /// The longest pause. A message is tried until the notifier refuses it for good.
    pub retry_max: Duration,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            batch: 100,
            poll_interval: Duration::from_millis(250),
            deadline: Duration::from_secs(2),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
        }
    }
}

/// Reads the outbox, the table `notifications`.
#[derive(Clone, Debug)]
pub struct Sender {
    pool: Pool,
    notifier: Arc<dyn Notifier>,
    options: SenderOptions,
}

struct Claimed {
    id: i64,
    attempts: i32,
    message: Message,
}

struct Tried {
    id: i64,
    attempts: i32,
    outcome: Result<(), PortError>,
}

impl Sender {
    /// Makes one; nothing runs yet.
    #[must_use]
    pub fn new(pool: Pool, notifier: Arc<dyn Notifier>, options: SenderOptions) -> Self {
        Self { pool, notifier, options }
    }

    /// Delivers until told to stop; a batch that has begun is finished first. Errors are logged,
    /// and tried again after a pause.
    ///
    /// # Cancel safety
    /// Dropping the future may have messages of its last batch delivered once more.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.send_pending().await {
                Ok(tried) if tried >= usize::from(self.options.batch) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "notifications could not be delivered"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.poll_interval) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Delivers one batch of what is due, and gives the number of messages that were tried.
    ///
    /// # Errors
    /// Database errors; the messages stay pending, though some may have been delivered.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn send_pending(&self) -> Result<usize, Error> {
        let doing = "sending notifications";
        let after = DATABASE_DEADLINE + self.options.deadline.saturating_mul(OF_ORDER);
        let mut connection = match tokio::time::timeout(after, self.pool.get()).await {
            Ok(connection) => connection.doing(doing)?,
            Err(_) => return Err(Error::Deadline { doing, after }),
        };
        let sent = tokio::time::timeout(after, self.send_batch(&mut connection)).await;
        let sent = sent.unwrap_or(Err(Error::Deadline { doing, after }));
        if sent.is_err() {
            // It may be in the middle of a transaction that nobody will end.
            drop(Object::take(connection));
        }
        sent
    }

    async fn send_batch(&self, connection: &mut Client) -> Result<usize, Error> {
        let tx = connection.transaction().await.doing("sending notifications")?;
        let batch = i64::from(self.options.batch);
        let rows = CLAIM_NOTIFICATIONS.run_in(&tx, &[(&batch, Type::INT8)]).await?;
        let claimed = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let tried = self.deliver(claimed).await;
        if !tried.is_empty() {
            self.settle(&tx, &tried).await?;
        }
        tx.commit().await.doing("sending notifications")?;
        Ok(tried.len())
    }

    /// Orders side by side, the messages of each one after the other up to the first failure.
    async fn deliver(&self, claimed: Vec<Claimed>) -> Vec<Tried> {
        let mut orders: Vec<Vec<Claimed>> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for item in claimed {
            let place = *places.entry(item.message.order_id.clone()).or_insert(orders.len());
            match orders.get_mut(place) {
                Some(order) => order.push(item),
                None => orders.push(vec![item]),
            }
        }
        let mut running = JoinSet::new();
        for order in orders {
            let (notifier, deadline) = (Arc::clone(&self.notifier), self.options.deadline);
            let most = usize::try_from(OF_ORDER).unwrap_or(usize::MAX);
            running.spawn(async move {
                let mut tried = Vec::with_capacity(order.len());
                for Claimed { id, attempts, message } in order.into_iter().take(most) {
                    let outcome = within(deadline, notifier.deliver(&message)).await;
                    let failed = outcome.is_err();
                    tried.push(Tried { id, attempts, outcome });
                    if failed {
                        break;
                    }
                }
                tried
            });
        }
        let mut all = Vec::new();
        while let Some(tried) = running.join_next().await {
            match tried {
                Ok(tried) => all.extend(tried),
                Err(error) => tracing::warn!(%error, "a notifier panicked"),
            }
        }
        all
    }

    async fn settle(&self, tx: &Transaction<'_>, tried: &[Tried]) -> Result<(), Error> {
        let ids: Vec<i64> = tried.iter().map(|one| one.id).collect();
        let errors: Vec<Option<String>> =
            tried.iter().map(|one| one.outcome.as_ref().err().map(PortError::to_string)).collect();
        let delays: Vec<Option<f64>> = tried.iter().map(|one| self.delay_seconds(one)).collect();
        SETTLE_NOTIFICATIONS
            .run_in(
                tx,
                &[
                    (&ids, Type::INT8_ARRAY),
                    (&errors, Type::TEXT_ARRAY),
                    (&delays, Type::FLOAT8_ARRAY),
                ],
            )
            .await?;
        Ok(())
    }

    fn delay_seconds(&self, tried: &Tried) -> Option<f64> {
        match &tried.outcome {
            Err(error) if error.is_retryable() => {
                let doublings = u32::try_from(tried.attempts).unwrap_or(0).min(16);
                let delay = self.options.retry_min.saturating_mul(1 << doublings);
                Some(delay.min(self.options.retry_max).as_secs_f64())
            }
            _ => None,
        }
    }
}

async fn within(
    deadline: Duration,
    delivery: impl Future<Output = Result<(), PortError>>,
) -> Result<(), PortError> {
    match tokio::time::timeout(deadline, delivery).await {
        Ok(outcome) => outcome,
        Err(_) => Err(PortError::Unavailable(format!("not delivered within {deadline:?}"))),
    }
}

fn read(row: &Row) -> Result<Claimed, Error> {
    let (order_id, stage): (String, String) = (get(row, "order_id")?, get(row, "stage")?);
    let message_id = match get(row, "part")? {
        "" => format!("{order_id}:{stage}"),
        part => format!("{order_id}:{stage}:{part}"),
    };
    let message = Message {
        message_id,
        order_id,
        stage,
        recipient: get(row, "recipient")?,
        body: get(row, "body")?,
    };
    Ok(Claimed { id: get(row, "notification_id")?, attempts: get(row, "attempts")?, message })
}
