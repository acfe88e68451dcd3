//! A connection and the tasks that it holds.

use std::collections::HashMap;
use std::sync::Arc;

use oms_engine::tokio_postgres::types::{Json, ToSql};
use oms_engine::tokio_postgres::{Client, Statement};
use serde_json::Value;
use uuid::Uuid;

use super::ids;
use crate::measure::Failure;
use crate::measure::linear::{Line, input, work};
use crate::measure::place::connect;

pub(super) struct Session {
    client: Client,
    start: Statement,
    step: Statement,
    line: Line,
    holder: i64,
    held: Vec<Held>,
}

struct Held {
    token: i64,
    run: Uuid,
    /// Which step of the line it is.
    step: usize,
    input: Arc<Value>,
}

impl Session {
    pub(super) async fn open(url: &str, line: Line, holder: i64) -> Result<Self, Failure> {
        let client = connect(url).await?;
        client.batch_execute(&oms_engine::testkit::planner()).await?;
        let start = client.prepare(include_str!("sql/start.sql")).await?;
        let step = client.prepare(include_str!("sql/step.sql")).await?;
        Ok(Self { client, start, step, line, holder, held: Vec::new() })
    }

    fn first(&self) -> &'static str {
        self.line.steps.first().copied().unwrap_or_default()
    }

    /// Starts runs whose first tasks anyone may claim.
    pub(super) async fn start(&self, numbers: &[usize]) -> Result<(), Failure> {
        let inputs: Vec<Value> = numbers.iter().map(|n| input(*n)).collect();
        let ids = ids(numbers.len());
        let (name, holder) = (self.line.name, None::<i64>);
        self.client.execute(&self.start, &[&ids, &inputs, &name, &self.first(), &holder]).await?;
        Ok(())
    }

    /// Starts runs and holds their first tasks.
    pub(super) async fn start_and_hold(&mut self, numbers: &[usize]) -> Result<(), Failure> {
        let inputs: Vec<Value> = numbers.iter().map(|n| input(*n)).collect();
        let ids = ids(numbers.len());
        let (name, holder) = (self.line.name, Some(self.holder));
        let params: [&(dyn ToSql + Sync); 5] = [&ids, &inputs, &name, &self.first(), &holder];
        let rows = self.client.query(&self.start, &params).await?;
        let mut inputs: HashMap<Uuid, Value> = ids.iter().copied().zip(inputs).collect();
        for row in rows {
            let run = row.get(1);
            let input = Arc::new(inputs.remove(&run).ok_or("a token of a run that is not ours")?);
            self.held.push(Held { token: row.get(0), run, step: 0, input });
        }
        Ok(())
    }

    /// Does the tasks that are held, writes their ends, holds what follows, and claims first
    /// tasks until it holds `batch`. Gives how many it holds then.
    pub(super) async fn step(&mut self, batch: usize) -> Result<usize, Failure> {
        let done = std::mem::take(&mut self.held);
        let mut tokens = Vec::with_capacity(done.len());
        let mut inputs = Vec::with_capacity(done.len());
        let mut outputs = Vec::with_capacity(done.len());
        let mut following = Vec::with_capacity(done.len());
        let mut go_on = HashMap::with_capacity(done.len());
        for held in &done {
            let step = self.line.steps.get(held.step).copied().unwrap_or_default();
            let next = self.line.steps.get(held.step + 1).copied();
            tokens.push(held.token);
            inputs.push(Json(&*held.input));
            outputs.push(Json(work(step, &held.input)?));
            following.push(next);
            if next.is_some() {
                go_on.insert(held.run, (held.step + 1, held.input.clone()));
            }
        }
        let free = i64::try_from(batch.saturating_sub(go_on.len()))?;
        let params: [&(dyn ToSql + Sync); 7] =
            [&tokens, &inputs, &outputs, &following, &self.holder, &self.first(), &free];
        for row in self.client.query(&self.step, &params).await? {
            let (token, run) = (row.get(0), row.get(1));
            let held = match go_on.remove(&run) {
                Some((step, input)) => Held { token, run, step, input },
                None => {
                    let Json(input) = row.get(2);
                    Held { token, run, step: 0, input: Arc::new(input) }
                }
            };
            self.held.push(held);
        }
        if go_on.is_empty() {
            Ok(self.held.len())
        } else {
            Err("a task that was held is lost".into())
        }
    }
}
