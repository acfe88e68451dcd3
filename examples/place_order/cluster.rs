//! An order on a Conductor server, with its tasks in this program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oms_conductor::{Conductor, Worker};
use oms_engine::WorkflowId;
use oms_tasks::sandbox::{Sandbox, SandboxClient};
use oms_tasks::{OrderTasks, definitions, order_summary};
use serde_json::Value;

use crate::shop::{self, Failure, Shop};
use crate::{Ended, Options, report, show};

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(200);

/// Places an order and follows it to its end, its unwinding included.
pub(crate) async fn place(
    options: &Options,
    shop: &Shop,
    sandbox: &Sandbox,
    begun: Instant,
) -> Result<(), Failure> {
    let mut builder = Conductor::builder(options.conductor.as_deref().unwrap_or_default());
    if let Some(id) = &options.conductor_key {
        let secret = std::env::var_os("CONDUCTOR_AUTH_SECRET").and_then(|s| s.into_string().ok());
        builder = builder.key(id, secret.ok_or("CONDUCTOR_AUTH_SECRET is not set")?);
    }
    let conductor = builder.build()?;
    let workflows = definitions::workflow_definitions()?;
    conductor.register(&definitions::task_definitions()?, &workflows).await?;
    oms_conductor::migrate(&mut *shop.pool.get().await?).await?;
    let port = Arc::new(SandboxClient::new(sandbox.address()));
    let pool = shop.pool.clone();
    let tasks = OrderTasks { pool: pool.clone(), gateway: port.clone(), carrier: port };
    let worker = tasks.register(Worker::builder(conductor.clone()).database(pool)).start()?;

    let (order_id, sku) = (format!("order-{}", WorkflowId::new()), options.article(0));
    shop.stock(&sku, i64::from(options.quantity)).await?;
    let input = shop::order(&order_id, &sku, options.quantity, &options.card);
    let id = conductor.start("order_fulfilment", Some(1), &input, Some(&order_id)).await?;
    if !options.json {
        println!("{order_id} placed as workflow {id}");
    }
    let run = wait(&conductor, &id).await?;
    // Its id is left where a failed run keeps its output.
    let unwinding = run.pointer("/output/conductor.failure_workflow").and_then(Value::as_str);
    if let Some(unwinding) = unwinding {
        wait(&conductor, unwinding).await?;
    }
    worker.stop(Duration::from_secs(5)).await;
    let elapsed = begun.elapsed();
    let text = |key: &str| run.get(key).and_then(Value::as_str).map(str::to_owned);
    let (status, reason) = (text("status").unwrap_or_default(), text("reasonForIncompletion"));
    let ended = Ended { id, status, reason };
    let summary = order_summary(&*shop.pool.get().await?, &order_id).await?;
    if options.json {
        println!("{}", Value::Object(report(&order_id, &ended, summary.as_ref(), elapsed)));
    } else {
        show(&order_id, &ended, summary.as_ref());
        println!("\nfrom start to end: {} ms", elapsed.as_millis());
    }
    Ok(())
}

async fn wait(conductor: &Conductor, id: &str) -> Result<Value, Failure> {
    loop {
        let run = conductor.workflow(id).await?;
        if !matches!(run.get("status").and_then(Value::as_str), Some("RUNNING" | "PAUSED")) {
            return Ok(run);
        }
        tokio::time::sleep(LOOK).await;
    }
}
