//! The outbox's sender.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oms_tasks::notifiers::{FileNotifier, MemoryNotifier};
use oms_tasks::ports::{Message, Notifier, PortError};
use oms_tasks::sender::{Sender, SenderOptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::world::{Placed, STEPS, Scratch, World, until};

fn options() -> SenderOptions {
    let mut options = SenderOptions::default();
    options.poll_interval = Duration::from_millis(5);
    options.retry_min = Duration::ZERO;
    options
}

fn sender(world: &World, notifier: Arc<dyn Notifier>) -> Sender {
    Sender::new(world.tasks.pool.clone(), notifier, options())
}

fn ids(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.message_id.as_str()).collect()
}

#[tokio::test]
async fn each_notification_is_delivered_once_in_the_order_of_the_stages() {
    let world = World::new().await;
    world.take(&Placed::new("o"), STEPS.len()).await;
    let notifier = Arc::new(MemoryNotifier::default());
    let sender = sender(&world, Arc::clone(&notifier) as _);
    assert_eq!(sender.send_pending().await.unwrap(), 5);
    assert_eq!(sender.send_pending().await.unwrap(), 0);
    let messages = notifier.messages();
    let stages = ["o:ACKNOWLEDGED", "o:PAID", "o:BOOKED", "o:SCHEDULED", "o:COMPLETED"];
    assert_eq!(ids(&messages), stages);
    assert!(messages.iter().all(|message| message.recipient == "ada@example.com"));
    let summary = world.summary("o").await.unwrap();
    assert!(summary.notifications.iter().all(|n| n.status == "SENT" && n.sent_at.is_some()));
}

#[tokio::test]
async fn several_senders_share_the_work_until_they_are_stopped() {
    let world = World::new().await;
    world.restock("tea", 100, 250).await;
    let notifier = Arc::new(MemoryNotifier::default());
    let stop = CancellationToken::new();
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender(&world, Arc::clone(&notifier) as _);
            let stop = stop.clone();
            tokio::spawn(async move { sender.run(stop).await })
        })
        .collect();
    for i in 0..10 {
        world.take(&Placed::new(&format!("o{i}")), STEPS.len()).await;
    }
    until("all are delivered", async || notifier.messages().len() >= 50).await;
    stop.cancel();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut counts = BTreeMap::new();
    for message in notifier.messages() {
        *counts.entry(message.message_id).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 50);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// Fails as told, and counts.
#[derive(Debug)]
struct Failing {
    error: PortError,
    calls: AtomicU32,
    mended: AtomicBool,
}

#[async_trait]
impl Notifier for Failing {
    async fn deliver(&self, _message: &Message) -> Result<(), PortError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.mended.load(Ordering::Relaxed) { Ok(()) } else { Err(self.error.clone()) }
    }
}

fn failing(error: PortError) -> Arc<Failing> {
    Arc::new(Failing { error, calls: AtomicU32::new(0), mended: AtomicBool::new(false) })
}

#[tokio::test]
async fn a_notifier_that_is_down_is_tried_again() {
    let world = World::new().await;
    world.take(&Placed::new("o"), 2).await;
    let notifier = failing(PortError::Unavailable("mail is down".to_owned()));
    let sender = sender(&world, Arc::clone(&notifier) as _);
    // The second of the order waits for the first.
    assert_eq!(sender.send_pending().await.unwrap(), 1);
    let pending = world.tables().await;
    assert_eq!(pending["notifications"][0]["last_error"], "unavailable: mail is down");
    notifier.mended.store(true, Ordering::Relaxed);
    assert_eq!(sender.send_pending().await.unwrap(), 2);
    assert_eq!(notifier.calls.load(Ordering::Relaxed), 3);
    let summary = world.summary("o").await.unwrap();
    assert!(summary.notifications.iter().all(|n| n.status == "SENT"));
}

#[tokio::test]
async fn a_message_that_is_refused_is_not_tried_again() {
    let world = World::new().await;
    world.take(&Placed::new("o"), 1).await;
    let notifier = failing(PortError::Invalid("no such mailbox".to_owned()));
    let sender = sender(&world, Arc::clone(&notifier) as _);
    assert_eq!(sender.send_pending().await.unwrap(), 1);
    assert_eq!(sender.send_pending().await.unwrap(), 0);
    assert_eq!(world.summary("o").await.unwrap().notifications[0].status, "UNDELIVERABLE");
}

/// Keeps a message and never says so.
#[derive(Debug, Default)]
struct Hanging {
    kept: MemoryNotifier,
    delivered: Notify,
}

#[async_trait]
impl Notifier for Hanging {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        self.kept.deliver(message).await?;
        self.delivered.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_sender_that_dies_after_the_delivery_delivers_again_under_the_same_id() {
    let world = World::new().await;
    world.take(&Placed::new("o"), 1).await;
    let hanging = Arc::new(Hanging::default());
    let dying = sender(&world, Arc::clone(&hanging) as _);
    tokio::select! {
        sent = dying.send_pending() => panic!("{sent:?}"),
        () = hanging.delivered.notified() => {}
    }
    let notifier = Arc::new(MemoryNotifier::default());
    let next = sender(&world, Arc::clone(&notifier) as _);
    // The row is free as soon as the connection of the dead sender is closed.
    until("the row is free", async || next.send_pending().await.unwrap() == 1).await;
    assert_eq!(ids(&notifier.messages()), ids(&hanging.kept.messages()));
    assert_eq!(world.summary("o").await.unwrap().notifications[0].status, "SENT");
}

#[tokio::test]
async fn a_file_has_a_line_for_each_message() {
    let world = World::new().await;
    world.take(&Placed::new("o"), 2).await;
    let file = Scratch::new();
    let notifier = Arc::new(FileNotifier::open(&file.0).unwrap());
    sender(&world, notifier).send_pending().await.unwrap();
    let text = std::fs::read_to_string(&file.0).unwrap();
    let messages: Vec<Message> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids(&messages), ["o:ACKNOWLEDGED", "o:PAID"]);
}
