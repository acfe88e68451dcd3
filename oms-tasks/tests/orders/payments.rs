//! Payments that are authorised, captured, reversed and given back in parts.

use std::sync::Arc;

use async_trait::async_trait;
use oms_engine::TaskError;
use oms_tasks::OrderTasks;
use oms_tasks::payment::CaptureAt;
use oms_tasks::ports::{
    AuthoriseAnswer, CaptureAnswer, CaptureRequest, ChargeAnswer, ChargeRequest, FindRequest,
    GatewayPayment, PartRefundAnswer, PartRefundRequest, PaymentGateway, PortError, RefundAnswer,
    RefundRequest, VoidAnswer, VoidRequest,
};
use oms_tasks::sandbox::SandboxClient;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{Placed, World};

/// A world with one acknowledged order over 500, paid by this card.
pub(crate) async fn with_card(token: &str) -> (World, Placed) {
    let world = World::new().await;
    let order = Placed::new("o").with("/payment/token", json!(token));
    world.take(&order, 1).await;
    (world, order)
}

/// One attempt of a step; `input` has what the order's id is not enough for.
async fn attempt(
    world: &World,
    tasks: &OrderTasks,
    order: &Placed,
    name: &str,
    input: &Value,
) -> Result<Value, TaskError> {
    let (step, capture_at) = match name {
        "payment_authorisation_with_capture" => ("payment_authorisation", CaptureAt::Payment),
        other => (other, CaptureAt::Scheduling),
    };
    let cx = order.context(input["step"].as_str().unwrap_or(step));
    let mut given = json!({"order_id": order.id()});
    match step {
        "payment_authorisation" => given["payment"] = order.input["payment"].clone(),
        "part_refund" => given["amount_minor"] = input["amount_minor"].clone(),
        _ => {}
    }
    match step {
        "payment_authorisation" => {
            world.call(tasks.payment_authorisation(capture_at), &cx, given).await
        }
        "payment_capture" => world.call(tasks.payment_capture(), &cx, given).await,
        "payment_reversal" => world.call(tasks.payment_reversal(), &cx, given).await,
        "part_refund" => world.call(tasks.part_refund(), &cx, given).await,
        other => panic!("no step {other}"),
    }
}

pub(crate) async fn step(world: &World, order: &Placed, name: &str) -> Result<Value, TaskError> {
    attempt(world, &world.tasks, order, name, &Value::Null).await
}

/// A partial refund as the step of this name.
pub(crate) async fn refund(
    world: &World,
    order: &Placed,
    name: &str,
    minor: i64,
) -> Result<Value, TaskError> {
    let input = json!({"step": name, "amount_minor": minor});
    attempt(world, &world.tasks, order, "part_refund", &input).await
}

pub(crate) fn reason(answer: Result<Value, TaskError>, terminal: bool) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.is_terminal(), terminal, "{}", error.reason());
    error.reason().to_owned()
}

/// Status, minor units captured, and given back, of the payment of `o`.
pub(crate) async fn row(world: &World) -> (String, i64, i64) {
    let sql = "SELECT status, captured_minor, refunded_minor FROM payment_intents";
    let row = world.client().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

pub(crate) fn is(status: &str, captured: i64, refunded: i64) -> (String, i64, i64) {
    (status.to_owned(), captured, refunded)
}

/// What must hold of the money at all times, by the sandbox's ledger and by the tables.
pub(crate) async fn assert_sound(world: &World) {
    let told = world.totals("o");
    assert!(told.authorisations <= 1 && told.captures <= 1, "{told:?}");
    assert!(told.captured_minor <= told.authorised_minor, "{told:?}");
    assert!(told.part_refunded_minor <= told.captured_minor, "{told:?}");
    let (status, captured, refunded) = row(world).await;
    if ["VOIDED", "REFUNDED", "DECLINED"].contains(&status.as_str()) {
        assert_eq!((captured, refunded), (told.captured_minor, told.part_refunded_minor));
        assert_eq!(captured, refunded, "{status}");
        assert!(told.captures + told.voids == told.authorisations, "{told:?}");
    }
}

#[tokio::test]
async fn a_payment_is_authorised_then_captured_and_each_is_done_once() {
    let (world, order) = with_card("tok_visa").await;
    for name in ["payment_authorisation", "payment_capture"] {
        let first = step(&world, &order, name).await.unwrap();
        let before = world.tables().await;
        assert_eq!(step(&world, &order, name).await.unwrap(), first);
        assert_eq!(world.tables().await, before);
    }
    let told = world.totals("o");
    assert_eq!((told.authorised_minor, told.captured_minor), (500, 500));
    assert_eq!((told.authorise_calls, told.capture_calls, told.finds), (1, 1, 0));
    assert_eq!(row(&world).await, is("CAPTURED", 500, 0));
    let stages: Vec<_> =
        world.summary("o").await.unwrap().notifications.into_iter().map(|n| n.stage).collect();
    assert_eq!(stages, ["ACKNOWLEDGED", "PAID"]);
}

#[tokio::test]
async fn where_it_is_configured_the_authorisation_takes_the_money_too() {
    let (world, order) = with_card("tok_capture_timeout_after").await;
    let name = "payment_authorisation_with_capture";
    reason(step(&world, &order, name).await, false);
    assert_eq!(row(&world).await, is("AUTHORISED", 0, 0));
    step(&world, &order, name).await.unwrap();
    assert_eq!(row(&world).await, is("CAPTURED", 500, 0));
    let captured = step(&world, &order, "payment_capture").await.unwrap();
    assert_eq!(captured["captured_minor"], 500);
    let told = world.totals("o");
    assert_eq!((told.capture_calls, told.captures), (1, 1), "it was asked, and not repeated");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_before_anything_is_repeated() {
    let (world, order) = with_card("tok_timeout_after_charge").await;
    reason(step(&world, &order, "payment_authorisation").await, false);
    assert_eq!(row(&world).await, is("INTENDED", 0, 0));
    step(&world, &order, "payment_authorisation").await.unwrap();
    let told = world.totals("o");
    assert_eq!((told.finds, told.authorise_calls, told.authorisations), (1, 1, 1));

    // Nothing was done: it is asked for again, under the same key.
    let (world, order) = with_card("tok_timeout").await;
    reason(step(&world, &order, "payment_authorisation").await, false);
    step(&world, &order, "payment_authorisation").await.unwrap();
    let told = world.totals("o");
    assert_eq!((told.finds, told.authorise_calls, told.authorisations), (1, 2, 1));
}

#[tokio::test]
async fn a_decline_is_final_with_the_gateways_code_and_told_once() {
    let (world, order) = with_card("tok_declined").await;
    let told = reason(step(&world, &order, "payment_authorisation").await, true);
    assert_eq!(told, "order o: payment declined: card_declined");
    let before = world.tables().await;
    assert_eq!(reason(step(&world, &order, "payment_authorisation").await, true), told);
    assert_eq!(reason(step(&world, &order, "payment_capture").await, true), told);
    let reversed = step(&world, &order, "payment_reversal").await.unwrap();
    assert_eq!(reversed, json!({"status": "DECLINED", "refunded_minor": 0, "currency": "EUR"}));
    assert_eq!(world.tables().await, before);
    assert_eq!(world.totals("o").authorise_calls, 1);
    let notes = world.summary("o").await.unwrap().notifications;
    assert_eq!(notes.iter().filter(|note| note.stage == "DECLINED").count(), 1);
    assert_sound(&world).await;
}

#[tokio::test]
async fn each_call_that_fails_or_is_not_answered_is_retried_and_done_once() {
    for (token, name) in [
        ("tok_fail_once", "payment_authorisation"),
        ("tok_capture_fail_once", "payment_capture"),
        ("tok_capture_timeout", "payment_capture"),
        ("tok_capture_timeout_after", "payment_capture"),
        ("tok_refund_fail_once", "payment_reversal"),
        ("tok_refund_timeout_after", "payment_reversal"),
    ] {
        let (world, order) = with_card(token).await;
        for step_name in ["payment_authorisation", "payment_capture", "payment_reversal"] {
            if step_name == name {
                reason(step(&world, &order, step_name).await, false);
                assert_sound(&world).await;
            }
            step(&world, &order, step_name).await.unwrap();
        }
        let told = world.totals("o");
        assert_eq!((told.authorisations, told.captures, told.part_refunds), (1, 1, 1), "{token}");
        assert_eq!(row(&world).await, is("REFUNDED", 500, 500), "{token}");
        assert_sound(&world).await;
    }
}

#[tokio::test]
async fn a_capture_that_is_refused_is_final_and_what_was_authorised_is_given_up() {
    let (world, order) = with_card("tok_capture_refused").await;
    step(&world, &order, "payment_authorisation").await.unwrap();
    let told = reason(step(&world, &order, "payment_capture").await, true);
    assert_eq!(told, "order o: capture refused: not_authorised");
    step(&world, &order, "payment_reversal").await.unwrap();
    assert_eq!(row(&world).await, is("VOIDED", 0, 0));
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_payment_is_reversed_from_wherever_it_stands_and_then_closed() {
    for (token, steps, status, terminal) in [
        ("tok_visa", vec!["payment_authorisation"], "VOIDED", true),
        ("tok_visa", vec!["payment_authorisation", "payment_capture"], "REFUNDED", true),
        ("tok_timeout", vec!["payment_authorisation"], "VOIDED", false),
        ("tok_timeout_after_charge", vec!["payment_authorisation"], "VOIDED", false),
        ("tok_void_timeout_after", vec!["payment_authorisation"], "VOIDED", true),
        (
            "tok_capture_timeout_after",
            vec!["payment_authorisation", "payment_capture"],
            "REFUNDED",
            false,
        ),
    ] {
        let (world, order) = with_card(token).await;
        for name in &steps {
            let ended = step(&world, &order, name).await;
            assert!(ended.is_ok() || !terminal, "{token} {name}");
        }
        if token.starts_with("tok_void") {
            reason(step(&world, &order, "payment_reversal").await, false);
        }
        let first = step(&world, &order, "payment_reversal").await.unwrap();
        assert_eq!(first["status"], status, "{token}");
        assert_sound(&world).await;
        let (tables, told) = (world.tables().await, world.totals("o"));
        assert_eq!(step(&world, &order, "payment_reversal").await.unwrap(), first);
        for name in ["payment_authorisation", "payment_capture"] {
            let told = reason(step(&world, &order, name).await, true);
            assert_eq!(told, "order o: its payment was reversed");
        }
        assert_eq!((world.tables().await, world.totals("o")), (tables, told), "{token}");
    }
}

#[tokio::test]
async fn a_reversal_of_what_was_never_to_be_paid_does_nothing() {
    let (world, order) = with_card("tok_visa").await;
    let before = world.tables().await;
    let nothing = step(&world, &order, "payment_reversal").await.unwrap();
    assert_eq!(nothing, json!({"status": null, "refunded_minor": 0, "currency": null}));
    assert_eq!((world.tables().await, world.totals("o").voids), (before, 0));
}

#[tokio::test]
async fn a_closed_order_is_not_authorised() {
    let (world, order) = with_card("tok_visa").await;
    world.step(&order, "order_closure").await.unwrap();
    let told = reason(step(&world, &order, "payment_authorisation").await, true);
    assert!(told.contains("is UNWINDING"), "{told}");
    assert_eq!(world.totals("o").authorise_calls, 0);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    Before,
    After,
}

/// Stops each authorisation and capture on its way until told to go on.
#[derive(Debug)]
struct Held {
    inner: Arc<SandboxClient>,
    hold: Hold,
    stopped: Notify,
    go_on: Notify,
}

impl Held {
    async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        if self.hold == Hold::Before {
            self.stopped.notify_one();
            self.go_on.notified().await;
            return call.await;
        }
        let answer = call.await;
        self.stopped.notify_one();
        self.go_on.notified().await;
        answer
    }
}

#[async_trait]
impl PaymentGateway for Held {
    async fn charge(&self, request: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
        self.inner.charge(request).await
    }

    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, PortError> {
        self.inner.refund(request).await
    }

    async fn authorise(&self, request: &ChargeRequest) -> Result<AuthoriseAnswer, PortError> {
        self.pass(self.inner.authorise(request)).await
    }

    async fn capture(&self, request: &CaptureRequest) -> Result<CaptureAnswer, PortError> {
        self.pass(self.inner.capture(request)).await
    }

    async fn void(&self, request: &VoidRequest) -> Result<VoidAnswer, PortError> {
        self.inner.void(request).await
    }

    async fn refund_part(&self, asked: &PartRefundRequest) -> Result<PartRefundAnswer, PortError> {
        self.inner.refund_part(asked).await
    }

    async fn find(&self, request: &FindRequest) -> Result<Option<GatewayPayment>, PortError> {
        self.inner.find(request).await
    }
}

#[tokio::test]
async fn a_call_that_comes_to_its_end_after_the_reversal_takes_nothing_and_writes_nothing() {
    for (before, name, hold, status, says) in [
        (0, "payment_authorisation", Hold::Before, "VOIDED", "is closed"),
        (0, "payment_authorisation", Hold::After, "VOIDED", "was reversed"),
        (1, "payment_capture", Hold::Before, "VOIDED", "capture refused"),
        (1, "payment_capture", Hold::After, "REFUNDED", "was reversed"),
    ] {
        let (world, order) = with_card("tok_visa").await;
        if before > 0 {
            step(&world, &order, "payment_authorisation").await.unwrap();
        }
        let held = Arc::new(Held {
            inner: Arc::clone(&world.port),
            hold,
            stopped: Notify::new(),
            go_on: Notify::new(),
        });
        let late = OrderTasks {
            gateway: Arc::clone(&held) as Arc<dyn PaymentGateway>,
            ..world.tasks.clone()
        };
        let (reported, tables) =
            tokio::join!(attempt(&world, &late, &order, name, &Value::Null), async {
                held.stopped.notified().await;
                step(&world, &order, "payment_reversal").await.unwrap();
                let tables = world.tables().await;
                held.go_on.notify_one();
                tables
            });
        let told = reason(reported, true);
        assert!(told.contains(says), "{name} {hold:?}: {told}");
        assert_eq!(world.tables().await, tables, "the late attempt wrote");
        assert_eq!(row(&world).await.0, status, "{name} {hold:?}");
        assert_sound(&world).await;
    }
}

#[tokio::test]
async fn a_gateway_that_charges_at_once_refuses_to_authorise_by_name() {
    #[derive(Debug)]
    struct AtOnce;

    #[async_trait]
    impl PaymentGateway for AtOnce {
        async fn charge(&self, _: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
            Ok(ChargeAnswer::Charged { charge_id: "ch".to_owned() })
        }

        async fn refund(&self, _: &RefundRequest) -> Result<RefundAnswer, PortError> {
            Ok(RefundAnswer::NothingCharged)
        }
    }
    let (world, order) = with_card("tok_visa").await;
    let tasks = OrderTasks { gateway: Arc::new(AtOnce), ..world.tasks.clone() };
    let told = attempt(&world, &tasks, &order, "payment_authorisation", &Value::Null).await;
    let told = reason(told, true);
    assert!(told.contains("does not know how to authorise"), "{told}");
}
