//! The sandbox: what its keys promise, also across restarts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oms_tasks::order::CardToken;
use oms_tasks::ports::{
    CancelAnswer, CancelRequest, Carrier as _, ChargeAnswer, ChargeRequest, PaymentGateway as _,
    PortError, RefundAnswer, RefundRequest,
};
use oms_tasks::sandbox::{Entry, Ledger, SandboxClient, serve};
use tokio::task::JoinSet;

use crate::world::{DEADLINE, Scratch};

fn charge(key: &str, token: &str) -> ChargeRequest {
    ChargeRequest {
        key: key.to_owned(),
        order_id: format!("order of {key}"),
        amount_minor: 500,
        currency: "EUR".to_owned(),
        method: "card".to_owned(),
        token: CardToken::new(token),
    }
}

fn refund(key: &str, charge_key: &str) -> RefundRequest {
    RefundRequest {
        key: key.to_owned(),
        charge_key: charge_key.to_owned(),
        order_id: format!("order of {charge_key}"),
        amount_minor: 500,
        currency: "EUR".to_owned(),
    }
}

fn client(address: SocketAddr) -> SandboxClient {
    SandboxClient::new(address).with_deadline(DEADLINE)
}

#[tokio::test]
async fn a_key_gives_its_first_answer_and_refuses_another_body() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    let first = port.charge(&charge("k", "tok_visa")).await.unwrap();
    assert_eq!(port.charge(&charge("k", "tok_visa")).await.unwrap(), first);
    let other = ChargeRequest { amount_minor: 501, ..charge("k", "tok_visa") };
    let reused = port.charge(&other).await.unwrap_err();
    assert_eq!(reused, PortError::KeyReused("k".to_owned()));
    let totals = Ledger::read(&ledger.0).unwrap().order("order of k");
    assert_eq!((totals.charge_calls, totals.charges, totals.charged_minor), (3, 1, 500));
}

#[tokio::test]
async fn a_charge_is_refunded_once_under_whatever_key() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    port.charge(&charge("k", "tok_visa")).await.unwrap();
    let first = port.refund(&refund("r1", "k")).await.unwrap();
    assert!(matches!(first, RefundAnswer::Refunded { .. }));
    assert_eq!(port.refund(&refund("r1", "k")).await.unwrap(), first);
    assert_eq!(port.refund(&refund("r2", "k")).await.unwrap(), first);
    let totals = Ledger::read(&ledger.0).unwrap().order("order of k");
    assert_eq!((totals.refunds, totals.refunded_minor), (1, 500));
}

#[tokio::test]
async fn a_key_that_was_undone_before_it_came_stays_closed_across_restarts() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    let nothing = port.refund(&refund("r", "k")).await.unwrap();
    assert_eq!(nothing, RefundAnswer::NothingCharged);
    let cancel = CancelRequest { key: "c".into(), booking_key: "b".into(), order_id: "o".into() };
    assert_eq!(port.cancel(&cancel).await.unwrap(), CancelAnswer::NothingBooked);
    sandbox.stop().await;
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    let late = port.charge(&charge("k", "tok_visa")).await.unwrap_err();
    assert_eq!(late, PortError::KeyClosed("k".to_owned()));
    assert_eq!(port.refund(&refund("r", "k")).await.unwrap(), nothing);
    assert_eq!(port.cancel(&cancel).await.unwrap(), CancelAnswer::NothingBooked);
    assert_eq!(Ledger::read(&ledger.0).unwrap().order("order of k").charges, 0);
}

#[tokio::test]
async fn a_restarted_sandbox_knows_what_it_did() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    let visa = port.charge(&charge("a", "tok_visa")).await.unwrap();
    let declined = port.charge(&charge("b", "tok_declined")).await.unwrap();
    port.charge(&charge("c", "tok_timeout_after_charge")).await.unwrap_err();
    port.charge(&charge("d", "tok_fail_once")).await.unwrap_err();
    sandbox.stop().await;
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = client(sandbox.address());
    assert_eq!(port.charge(&charge("a", "tok_visa")).await.unwrap(), visa);
    assert_eq!(port.charge(&charge("b", "tok_declined")).await.unwrap(), declined);
    for (key, token) in [("c", "tok_timeout_after_charge"), ("d", "tok_fail_once")] {
        let answer = port.charge(&charge(key, token)).await.unwrap();
        assert!(matches!(answer, ChargeAnswer::Charged { .. }), "{key}");
        assert_ne!(answer, visa, "an id was given twice");
    }
    let read = Ledger::read(&ledger.0).unwrap();
    assert_eq!(read.entries().iter().filter(|e| matches!(e, Entry::Charged { .. })).count(), 3);
}

#[tokio::test]
async fn half_a_line_at_the_end_is_cut_off_and_a_spoilt_line_is_refused() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    client(sandbox.address()).charge(&charge("a", "tok_visa")).await.unwrap();
    sandbox.stop().await;
    let whole = std::fs::read(&ledger.0).unwrap();
    let append = |bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).open(&ledger.0).unwrap();
        file.write_all(bytes).unwrap();
    };
    append(b"{\"entry\":\"charged\",\"ke");
    assert_eq!(Ledger::read(&ledger.0).unwrap().entries().len(), 2);
    serve(&ledger.0, 0).await.unwrap().stop().await;
    assert_eq!(std::fs::read(&ledger.0).unwrap(), whole);
    append(b"{}\n");
    let spoilt = serve(&ledger.0, 0).await.unwrap_err();
    assert!(spoilt.to_string().contains("line 3"), "{spoilt}");
}

#[tokio::test]
async fn two_sandboxes_do_not_share_a_ledger() {
    let ledger = Scratch::new();
    let _sandbox = serve(&ledger.0, 0).await.unwrap();
    let refused = serve(&ledger.0, 0).await.unwrap_err();
    assert!(refused.to_string().contains("another sandbox"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_run_side_by_side() {
    let ledger = Scratch::new();
    let sandbox = serve(&ledger.0, 0).await.unwrap();
    let port = Arc::new(SandboxClient::new(sandbox.address()).with_deadline(DEADLINE * 20));
    let mut running = JoinSet::new();
    for worker in 0..32 {
        let port = Arc::clone(&port);
        running.spawn(async move {
            for i in 0..50 {
                port.charge(&charge(&format!("{worker}-{i}"), "tok_visa")).await.unwrap();
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let orders = Ledger::read(&ledger.0).unwrap().by_order();
    assert_eq!(orders.len(), 1_600);
    assert!(orders.values().all(|totals| totals.charges == 1));
}

/// The sandbox as a process; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(ledger: &Scratch) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oms-sandbox"))
            .arg("--ledger")
            .arg(&ledger.0)
            .args(["--port", "0", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), child }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_sandbox_process_has_lost_nothing_that_it_answered() {
    let ledger = Scratch::new();
    let mut answers: Vec<(String, ChargeAnswer)> = Vec::new();
    for round in 0..3 {
        let process = Process::start(&ledger);
        let port = client(process.address);
        for (key, answer) in &answers {
            assert_eq!(port.charge(&charge(key, "tok_visa")).await.unwrap(), *answer);
        }
        for i in 0..20 {
            let key = format!("{round}-{i}");
            let answer = port.charge(&charge(&key, "tok_visa")).await.unwrap();
            answers.push((key, answer));
        }
        drop(process);
    }
    let orders = Ledger::read(&ledger.0).unwrap().by_order();
    assert_eq!(orders.len(), 60);
    assert!(orders.values().all(|totals| totals.charges == 1));
}

#[tokio::test]
async fn a_sandbox_process_ends_with_its_standard_input() {
    let ledger = Scratch::new();
    let mut process = Process::start(&ledger);
    drop(process.child.stdin.take());
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap().success());
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap());
}

#[test]
fn a_sandbox_process_refuses_arguments_that_it_does_not_know() {
    for args in [&["--fast"][..], &["--ledger"], &["--port", "x", "--ledger", "l"], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_oms-sandbox")).args(args).output().unwrap();
        assert!(!output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("usage: oms-sandbox"), "{told}");
    }
}
