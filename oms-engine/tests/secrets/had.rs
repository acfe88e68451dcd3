//! Secrets that are not to be had.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oms_engine::{
    SecretValue, SecretsProvider, TaskDef, TaskStatus, WorkflowDef, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::database;
use crate::common::script::{Work, told};
use crate::{CARD, Known, run};

#[tokio::test]
async fn a_task_that_needs_a_secret_which_is_not_to_be_had_fails_for_good_and_names_it() {
    let database = database().await;
    let work = || Work::new(|_, _| async { panic!("it was handed out") });
    let without = told(&database).task(work()).build().await.unwrap();
    let of = |name: &str| {
        let step = WorkflowTask::simple("work", "step").input("key", name);
        WorkflowDef::builder("needs").task(step).build().unwrap()
    };
    // Registered without, since another engine may have a provider.
    let none = run(&without, &of("${workflow.secrets.CARD}")).await;
    let needs = "it needs secret \"CARD\", and this engine has no secrets provider: give it one \
                 with EngineBuilder::secrets";
    let step = |run: &oms_engine::Execution| {
        let step = run.task("step").unwrap();
        (step.status, step.reason_for_incompletion.clone().unwrap())
    };
    let terminal = TaskStatus::FailedWithTerminalError;
    assert_eq!(step(&none), (terminal, needs.to_owned()));
    without.shutdown(Duration::ZERO).await;
    let with = told(&database).task(work()).secrets(Known).build().await.unwrap();
    for (written, reason) in [
        ("${workflow.secrets.CRAD}", "there is no secret \"CRAD\""),
        (
            "${workflow.secrets.DB.host}",
            "secret \"DB\" holds nothing where `${workflow.secrets.DB.host}` reads",
        ),
        (
            "${workflow.secrets.CARD.number}",
            "secret \"CARD\" holds nothing where `${workflow.secrets.CARD.number}` reads",
        ),
    ] {
        assert_eq!(step(&run(&with, &of(written)).await), (terminal, reason.to_owned()));
    }
}

/// Fails, hangs and panics before it answers.
#[derive(Default)]
struct Moody(AtomicUsize);

impl SecretsProvider for Moody {
    async fn secret(
        &self,
        _: &str,
    ) -> Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the vault is sealed".into()),
            1 => std::future::pending().await,
            2 => panic!("with {CARD}"),
            _ => Ok(Some(SecretValue::new(CARD))),
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_hangs_or_panics_costs_an_attempt() {
    let database = database().await;
    let work = Work::new(|_, input: Value| async move {
        assert_eq!(input["key"], json!(CARD));
        Ok(json!({}))
    });
    let builder = told(&database).deadline(Duration::from_secs(2));
    let engine = builder.task(work).secrets(Moody::default()).build().await.unwrap();
    let retried = TaskDef::new("work").retry_count(5).retry_delay(Duration::ZERO);
    let step = WorkflowTask::simple("work", "step").definition(retried);
    let step = step.input("key", "${workflow.secrets.CARD}");
    let run = run(&engine, &WorkflowDef::builder("w").task(step).build().unwrap()).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let reasons: Vec<Option<&str>> =
        run.tasks.iter().map(|task| task.reason_for_incompletion.as_deref()).collect();
    let late = "the secrets provider gave no answer within 2 s";
    let sealed = "secret \"CARD\" could not be had";
    let panicked = "the secrets provider panicked";
    assert_eq!(reasons[..3], [Some(sealed), Some(late), Some(panicked)]);
    assert_eq!(run.tasks[3].status, TaskStatus::Completed);
}
