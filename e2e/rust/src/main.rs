//! The order services on Conductor's official SDK for Rust, unmodified, with the statements of `oms-tasks`.
//!
//! `sdk-orders register`, `sdk-orders place CARD…` (prints the ids of the runs), `sdk-orders show ID…` (prints
//! statuses), `sdk-orders work`; with `CONDUCTOR_SERVER_URL`, `DATABASE_URL` and `SANDBOX` in the environment.

mod services;

use std::error::Error;
use std::fs;
use std::path::Path;

use conductor::client::ConductorClient;
use conductor::configuration::Configuration;
use conductor::models::{StartWorkflowRequest, TaskDef, TaskStatus, WorkflowDef};
use conductor::worker::{FnWorker, TaskHandler};
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../oms-tasks/definitions");

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let configuration = Configuration::from_env();
    match arguments.split_first() {
        Some((what, _)) if what == "register" => register(configuration).await,
        Some((what, cards)) if what == "place" => place(configuration, cards).await,
        Some((what, ids)) if what == "show" => show(configuration, ids).await,
        Some((what, _)) if what == "work" => work(configuration).await,
        _ => Err("usage: sdk-orders register | place CARD… | show ID… | work".into()),
    }
}

fn read(name: &str) -> Result<Value, Failure> {
    let file = Path::new(DEFINITIONS).join(format!("{name}.json"));
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// The files go through the SDK's own types.
async fn register(configuration: Configuration) -> Result<(), Failure> {
    let client = ConductorClient::new(configuration)?.metadata_client();
    let tasks: Vec<TaskDef> = serde_json::from_value(read("task_definitions")?)?;
    client.register_task_defs(&tasks).await?;
    for name in ["order_unwinding", "order_fulfilment"] {
        let definition: WorkflowDef = serde_json::from_value(read(name)?)?;
        client.register_or_update_workflow_def(&definition, true).await?;
        let kept = client.get_workflow_def(name, Some(1)).await?;
        assert_eq!(kept.tasks.len(), 5, "{name}");
    }
    Ok(())
}

async fn place(configuration: Configuration, cards: &[String]) -> Result<(), Failure> {
    let client = ConductorClient::new(configuration)?.workflow_client();
    for card in cards {
        let order_id = format!("order-{}", uuid::Uuid::new_v4());
        let request = StartWorkflowRequest::new("order_fulfilment")
            .with_version(1)
            .with_correlation_id(&order_id)
            .with_input_value("order_id", &order_id)
            .with_input_value("customer", json!({"name": "Ada", "email": "ada@example.com"}))
            .with_input_value("lines", json!([{"sku": "lamp", "quantity": 2}]))
            .with_input_value("payment", json!({"method": "card", "token": format!("tok_{card}")}))
            .with_input_value(
                "ship_to",
                json!({"street": "Main St 1", "city": "Bonn", "postal_code": "53111", "country": "DE"}),
            )
            .with_input_value("currency", "EUR");
        println!("{}", client.start_workflow(&request).await?);
    }
    Ok(())
}

/// What the server shows goes through the SDK's own types.
async fn show(configuration: Configuration, ids: &[String]) -> Result<(), Failure> {
    let client = ConductorClient::new(configuration)?.workflow_client();
    for id in ids {
        let run = client.get_workflow(id, true).await?;
        let done = run.tasks.iter().filter(|task| task.status == TaskStatus::Completed).count();
        println!("{id} {} {done}", serde_json::to_value(run.status)?);
    }
    Ok(())
}

async fn work(configuration: Configuration) -> Result<(), Failure> {
    let services = services::Services::connect().await?;
    let mut handler = TaskHandler::new(configuration)?;
    for name in services::TASKS {
        let services = services.clone();
        let worker = FnWorker::new(name, move |task| {
            let services = services.clone();
            async move { Ok(services.run(name, &task).await) }
        });
        handler.add_worker(worker.with_thread_count(4).with_poll_interval_millis(50));
    }
    handler.start().await?;
    println!("five services run");
    tokio::signal::ctrl_c().await?;
    handler.stop().await?;
    Ok(())
}
