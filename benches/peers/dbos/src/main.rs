//! DBOS: a workflow function with five steps. Each step's output is a row before the next begins;
//! starts are rows too. Sixty-four runs are under way at a time (more made it no faster), on as many
//! connections as PostgreSQL takes well.

use std::sync::Arc;

use dbos::{Config, DBOS, step};
use work::{Failure, Input, Output, STEPS, arguments, count_right, done, input, output, ready};

const AT_ONCE: usize = 64;

async fn linear5(input: Input) -> dbos::Result<Output> {
    let input = Arc::new(input);
    let mut last = None;
    for name in STEPS {
        let input = input.clone();
        last = Some(
            step(name, move || {
                let input = input.clone();
                async move { dbos::Result::Ok(output(name, &input)) }
            })
            .await?,
        );
    }
    Ok(last.unwrap_or(Output { text: String::new() }))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (url, runs) = arguments()?;
    let dbos = DBOS::new(Config {
        max_connections: 20,
        app_version: Some("1".to_owned()),
        ..Config::new("linear5", url)
    });
    let workflow = dbos.register_workflow("linear5", linear5)?;
    dbos.launch().await?;
    ready()?;
    let right = count_right(runs, AT_ONCE, |n| {
        let workflow = workflow.clone();
        async move {
            let input = input(n);
            let wanted = output("s5", &input);
            let given = workflow.start(input).await?.result().await?;
            Ok(given == wanted)
        }
    });
    let right = right.await?;
    done(right, runs)?;
    dbos.shutdown().await;
    Ok(())
}
