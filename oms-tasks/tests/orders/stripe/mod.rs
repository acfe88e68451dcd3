//! The Stripe adapter, over HTTP with a stand-in that speaks Stripe's wire format.

mod account;
mod stand_in;

use std::sync::Arc;
use std::time::Duration;

use oms_engine::TaskError;
use oms_tasks::OrderTasks;
use oms_tasks::order::CardToken;
use oms_tasks::payment::CaptureAt;
use oms_tasks::ports::{
    AuthoriseAnswer, CaptureAnswer, CaptureRequest, ChargeAnswer, ChargeRequest, FindRequest,
    PartRefundAnswer, PartRefundRequest, PaymentGateway as _, PaymentState, PortError,
    RefundAnswer, RefundRequest, VoidAnswer, VoidRequest,
};
use oms_tasks::stripe::{Stripe, StripeOptions};
use serde_json::{Value, json};

use self::stand_in::{FAULTS, Fault, SECRET, StandIn};
use crate::world::{Placed, World};

fn stripe(stand_in: &StandIn) -> Stripe {
    let mut options = StripeOptions::default();
    options.base_url.clone_from(&stand_in.url);
    options.deadline = Duration::from_secs(2);
    options.trusted_pem.clone_from(&stand_in.pem);
    Stripe::new(SECRET, &options).unwrap()
}

fn ask(key: &str, card: &str) -> ChargeRequest {
    ChargeRequest {
        key: key.to_owned(),
        order_id: "o".to_owned(),
        amount_minor: 500,
        currency: "EUR".to_owned(),
        method: "card".to_owned(),
        token: CardToken::new(card),
    }
}

fn capture(key: &str, payment_id: &str) -> CaptureRequest {
    CaptureRequest {
        key: format!("{key}/capture"),
        payment_key: key.to_owned(),
        payment_id: payment_id.to_owned(),
        order_id: "o".to_owned(),
        amount_minor: 500,
        currency: "EUR".to_owned(),
    }
}

fn part(key: &str, payment_id: &str, amount_minor: i64) -> PartRefundRequest {
    PartRefundRequest {
        key: key.to_owned(),
        payment_key: "k".to_owned(),
        payment_id: payment_id.to_owned(),
        order_id: "o".to_owned(),
        amount_minor,
        currency: "EUR".to_owned(),
    }
}

fn find(key: &str) -> FindRequest {
    FindRequest {
        payment_key: key.to_owned(),
        payment_id: None,
        order_id: "o".to_owned(),
        amount_minor: 500,
        currency: "EUR".to_owned(),
    }
}

fn void(key: &str) -> VoidRequest {
    VoidRequest {
        key: format!("{key}/void"),
        payment_key: key.to_owned(),
        payment_id: None,
        order_id: "o".to_owned(),
        amount_minor: 500,
        currency: "EUR".to_owned(),
    }
}

async fn authorised(stripe: &Stripe, key: &str) -> String {
    match stripe.authorise(&ask(key, "pm_card_visa")).await.unwrap() {
        AuthoriseAnswer::Authorised { payment_id } => payment_id,
        AuthoriseAnswer::Declined { code } => panic!("{code}"),
    }
}

#[tokio::test]
async fn a_payment_goes_over_tls_to_a_server_whose_certificate_is_trusted() {
    let stand_in = StandIn::start_with_tls().await;
    let id = authorised(&stripe(&stand_in), "k").await;
    let taken = stripe(&stand_in).capture(&capture("k", &id)).await.unwrap();
    assert_eq!(taken, CaptureAnswer::Captured { captured_minor: 500 });
    let mut unknown = stand_in.clone();
    unknown.pem = None;
    let refused = stripe(&unknown).authorise(&ask("l", "pm_card_visa")).await.unwrap_err();
    assert!(refused.is_retryable() && refused.to_string().contains("ertificate"), "{refused}");
}

#[tokio::test]
async fn an_address_without_tls_and_a_spoilt_key_are_refused_before_anything_is_sent() {
    let mut options = StripeOptions::default();
    options.base_url = "http://api.stripe.com".to_owned();
    let refused = Stripe::new(SECRET, &options).unwrap_err().to_string();
    assert!(refused.contains("use https://"), "{refused}");
    for key in ["", "sk_live\r\nX: y"] {
        assert!(Stripe::new(key, &StripeOptions::default()).is_err());
    }
    assert!(!format!("{:?}", Stripe::new(SECRET, &StripeOptions::default())).contains(SECRET));
}

#[tokio::test]
async fn a_key_gives_its_first_answer_and_is_refused_with_another_body() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    let first = authorised(&stripe, "k").await;
    assert_eq!(authorised(&stripe, "k").await, first);
    assert_eq!(stand_in.holds(), 1);
    let other = ChargeRequest { amount_minor: 501, ..ask("k", "pm_card_visa") };
    let reused = stripe.authorise(&other).await.unwrap_err();
    assert_eq!(reused, PortError::KeyReused("k".to_owned()));
}

#[tokio::test]
async fn declines_come_with_the_issuers_code_and_stay() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    for (card, code) in [
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_authenticationRequired", "authentication_required"),
        ("tok_chargeDeclined", "generic_decline"),
    ] {
        for _ in 0..2 {
            let answer = stripe.authorise(&ask(card, card)).await.unwrap();
            assert_eq!(answer, AuthoriseAnswer::Declined { code: code.to_owned() });
            stand_in.forget_keys();
            let found = stripe.find(&find(card)).await.unwrap().unwrap();
            assert_eq!(found.state, PaymentState::Declined { code: code.to_owned() });
        }
    }
    let barter = ChargeRequest { method: "barter".to_owned(), ..ask("b", "x") };
    let answer = stripe.authorise(&barter).await.unwrap();
    assert_eq!(answer, AuthoriseAnswer::Declined { code: "unsupported_method".to_owned() });
    assert_eq!(stand_in.holds(), 0);
}

#[tokio::test]
async fn a_payment_whose_id_was_lost_is_found_by_its_key_with_and_without_the_search() {
    for (indexed, keys_known) in [(true, true), (true, false), (false, true)] {
        let stand_in = StandIn::start().await;
        let stripe = stripe(&stand_in);
        let id = authorised(&stripe, "it's \\ k").await;
        stand_in.index(indexed);
        if !keys_known {
            stand_in.forget_keys();
        }
        let found = stripe.find(&find("it's \\ k")).await.unwrap().unwrap();
        assert_eq!((found.payment_id, found.state), (id, PaymentState::Authorised));
        assert_eq!(stand_in.intents().len(), 1);
    }
}

#[tokio::test]
async fn a_key_that_was_never_seen_is_open_and_a_void_closes_it() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    assert_eq!(stripe.find(&find("k")).await.unwrap().unwrap().state, PaymentState::Open);
    assert_eq!(stripe.void(&void("k")).await.unwrap(), VoidAnswer::Voided);
    assert_eq!(stripe.void(&void("k")).await.unwrap(), VoidAnswer::Voided);
    let late = stripe.authorise(&ask("k", "pm_card_visa")).await.unwrap_err();
    assert_eq!(late, PortError::KeyClosed("k".to_owned()));
    assert_eq!(stand_in.holds(), 0);
}

#[tokio::test]
async fn what_is_voided_is_not_captured_and_what_is_captured_is_not_voided() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    let id = authorised(&stripe, "k").await;
    assert_eq!(stripe.void(&void("k")).await.unwrap(), VoidAnswer::Voided);
    let refused = stripe.capture(&capture("k", &id)).await.unwrap();
    assert_eq!(refused, CaptureAnswer::Refused { code: "requested_by_customer".to_owned() });

    let id = authorised(&stripe, "l").await;
    let taken = CaptureAnswer::Captured { captured_minor: 500 };
    assert_eq!(stripe.capture(&capture("l", &id)).await.unwrap(), taken);
    stand_in.forget_keys();
    assert_eq!(stripe.capture(&capture("l", &id)).await.unwrap(), taken);
    let late = stripe.void(&void("l")).await.unwrap();
    assert_eq!(late, VoidAnswer::Captured { payment_id: id, captured_minor: 500 });
    assert_eq!(stand_in.money(), (500, 0));
}

#[tokio::test]
async fn parts_are_given_back_and_found_also_over_several_pages() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    let id = authorised(&stripe, "k").await;
    stripe.capture(&capture("k", &id)).await.unwrap();
    stand_in.page(2);
    for n in 0..5 {
        let made = stripe.refund_part(&part(&format!("r{n}"), &id, 90)).await.unwrap();
        assert!(matches!(made, PartRefundAnswer::Refunded { .. }));
    }
    let beyond = stripe.refund_part(&part("r5", &id, 90)).await.unwrap();
    assert_eq!(beyond, PartRefundAnswer::Refused { code: "charge_already_refunded".to_owned() });
    let found = stripe.find(&find("k")).await.unwrap().unwrap();
    assert_eq!((found.captured_minor, found.refunds.len()), (500, 5));
    assert!(found.refunds.iter().any(|refund| refund.key == "r0" && refund.amount_minor == 90));
}

#[tokio::test]
async fn version_one_charges_and_refunds_at_once_or_closes_the_key() {
    let stand_in = StandIn::start().await;
    let stripe = stripe(&stand_in);
    let charged = stripe.charge(&ask("k", "tok_visa")).await.unwrap();
    let ChargeAnswer::Charged { charge_id } = charged else { panic!("{charged:?}") };
    let refund = |charge_key: &str| RefundRequest {
        key: format!("refund of {charge_key}"),
        charge_key: charge_key.to_owned(),
        order_id: "o".to_owned(),
        amount_minor: 500,
        currency: "EUR".to_owned(),
    };
    let back = stripe.refund(&refund("k")).await.unwrap();
    let RefundAnswer::Refunded { charge_id: of, .. } = &back else { panic!("{back:?}") };
    assert_eq!(*of, charge_id);
    stand_in.forget_keys();
    assert_eq!(stripe.refund(&refund("k")).await.unwrap(), back);
    assert_eq!(stand_in.money(), (500, 500));
    assert_eq!(stripe.refund(&refund("l")).await.unwrap(), RefundAnswer::NothingCharged);
    let late = stripe.charge(&ask("l", "tok_visa")).await.unwrap_err();
    assert_eq!(late, PortError::KeyClosed("l".to_owned()));
}

#[tokio::test]
async fn a_secret_key_that_stripe_does_not_take_fails_no_order() {
    let stand_in = StandIn::start().await;
    let mut options = StripeOptions::default();
    options.base_url.clone_from(&stand_in.url);
    let stripe = Stripe::new("sk_test_of_somebody_else", &options).unwrap();
    let refused = stripe.authorise(&ask("k", "pm_card_visa")).await.unwrap_err();
    assert!(refused.is_retryable() && refused.to_string().contains("401"), "{refused}");
}

/// One attempt of a step of the order `o`.
async fn step(world: &World, order: &Placed, name: &str) -> Result<Value, TaskError> {
    let (cx, tasks) = (order.context(name), &world.tasks);
    let id = json!({"order_id": "o"});
    match name {
        "payment_authorisation" => {
            let input = json!({"order_id": "o", "payment": order.input["payment"]});
            world.call(tasks.payment_authorisation(CaptureAt::Scheduling), &cx, input).await
        }
        "payment_capture" => world.call(tasks.payment_capture(), &cx, id).await,
        "part_refund" => {
            let input = json!({"order_id": "o", "amount_minor": 120});
            world.call(tasks.part_refund(), &cx, input).await
        }
        _ => world.call(tasks.payment_reversal(), &cx, id).await,
    }
}

async fn with_stripe(stand_in: &StandIn) -> (World, Placed) {
    let mut world = World::new().await;
    world.tasks = OrderTasks { gateway: Arc::new(stripe(stand_in)), ..world.tasks.clone() };
    let order = Placed::new("o").with("/payment/token", json!("pm_card_visa"));
    world.take(&order, 1).await;
    (world, order)
}

/// Each call of a payment that is taken, given back in part and then as a whole goes wrong in each
/// way; nothing is done twice, and the books agree.
#[tokio::test]
async fn whatever_goes_wrong_with_whichever_call_money_moves_once() {
    let calls = [
        ("payment_authorisation", "/payment_intents"),
        ("payment_authorisation", "/confirm"),
        ("payment_capture", "/capture"),
        ("part_refund", "/refunds"),
        ("payment_reversal", "/refunds"),
    ];
    for (failing, path) in calls {
        for fault in FAULTS {
            let stand_in = StandIn::start().await;
            // The search may know of nothing: keys are enough.
            stand_in.index(fault != Fault::CloseInAnswer);
            let (world, order) = with_stripe(&stand_in).await;
            for name in
                ["payment_authorisation", "payment_capture", "part_refund", "payment_reversal"]
            {
                if name == failing {
                    stand_in.fail_next(path, fault);
                    let error = step(&world, &order, name).await.unwrap_err();
                    assert!(!error.is_terminal(), "{path} {fault:?}: {}", error.reason());
                    assert_eq!(stand_in.faults_left(), 0);
                }
                if let Err(error) = step(&world, &order, name).await {
                    panic!("{path} {fault:?}, {name}: {}", error.reason());
                }
            }
            let what = format!("{path} {fault:?}");
            assert_eq!((stand_in.holds(), stand_in.money()), (1, (500, 500)), "{what}");
            let sql = "SELECT status, captured_minor, refunded_minor FROM payment_intents";
            let row = world.client().await.query_one(sql, &[]).await.unwrap();
            let row: (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(row, ("REFUNDED".to_owned(), 500, 500), "{what}");
            let refunds = stand_in.calls().iter().filter(|c| *c == "POST /v1/refunds").count();
            assert!(refunds <= 4, "{what}: {refunds} calls");
        }
    }
}

/// The process dies after each call that it makes, before it can write what came of it.
#[tokio::test]
async fn a_payment_that_is_given_up_after_any_lost_answer_leaves_nothing_behind() {
    for (path, before) in [
        ("/payment_intents", vec!["payment_authorisation"]),
        ("/confirm", vec!["payment_authorisation"]),
        ("/capture", vec!["payment_authorisation", "payment_capture"]),
    ] {
        for indexed in [true, false] {
            let stand_in = StandIn::start().await;
            stand_in.index(indexed);
            let (world, order) = with_stripe(&stand_in).await;
            stand_in.fail_next(path, Fault::TimeOutAfterEffect);
            // The last of them has no answer.
            let mut ends = Vec::new();
            for name in &before {
                ends.push(step(&world, &order, name).await.is_ok());
            }
            assert_eq!(ends.pop(), Some(false), "{path}");
            assert_eq!(stand_in.faults_left(), 0, "{path}");
            stand_in.fail_next("/cancel", Fault::TimeOutAfterEffect);
            // Where it was captured there is nothing to cancel, and its first attempt does it.
            let first = step(&world, &order, "payment_reversal").await;
            assert_eq!(first.is_ok(), path == "/capture", "{path}");
            let reversed = step(&world, &order, "payment_reversal").await.unwrap();
            let (taken, back) = stand_in.money();
            assert_eq!(taken, back, "{path}");
            let status = if taken > 0 { "REFUNDED" } else { "VOIDED" };
            assert_eq!(reversed["status"], status, "{path}");
            let intents = stand_in.intents();
            let open = intents.iter().filter(|intent| {
                !["succeeded", "canceled"].contains(&intent["status"].as_str().unwrap())
            });
            assert_eq!(open.count(), 0, "{path}");
            let late = step(&world, &order, "payment_authorisation").await.unwrap_err();
            assert!(late.is_terminal());
            assert_eq!(stand_in.holds(), i64::from(path != "/payment_intents"), "{path}");
        }
    }
}
