//! Test-runs: a definition is run, and what a request says stands for what its workers would give.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::extract::State;
use oms_engine::chrono::TimeDelta;
use oms_engine::definition::TaskType;
use oms_engine::schemars::JsonSchema;
use oms_engine::{Execution, TaskExecution, TaskUpdate, WorkflowId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::start::StartBody;
use super::updates::update_of;
use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::Given;
use crate::shown::workflow_json;

/// The domain of test-runs, in which no worker looks for work.
const DOMAIN: &str = "workflow-test";
/// What has not come to rest by then is answered as it stands.
const RUN_MAX: Duration = Duration::from_secs(25);
/// Between two looks at a run that goes on by itself.
const LOOK: Duration = Duration::from_millis(5);

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/workflow/test" test)]
}

/// What Conductor's `WorkflowTestRequest` has beside a start, for the run and each sub-workflow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Mocks {
    /// By reference name, one for each attempt.
    task_ref_to_mock_output: Option<BTreeMap<String, Option<VecDeque<Mock>>>>,
    /// By the reference name of a `SUB_WORKFLOW`, what this says for its run.
    #[schemars(with = "Option<Map<String, Value>>")]
    sub_workflow_test_request: Option<BTreeMap<String, Self>>,
}

/// How an attempt ends.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
struct Mock {
    /// COMPLETED without one.
    status: Option<String>,
    output: Option<Map<String, Value>>,
    /// How long it took, in ms.
    execution_time: Option<u32>,
    /// How long it waited for a worker before, in ms.
    queue_wait_time: Option<u32>,
}

async fn test(State(app): State<App>, given: Given) -> Answer {
    let start = given.json::<StartBody>()?.in_domain(DOMAIN)?;
    let mut mocks = given.json::<Mocks>()?;
    mocks.check("$")?;
    let id = app.engine.start(start.request()?).await?.id;
    let mut player = Player { app: &app, began: Instant::now(), told: BTreeMap::new() };
    match player.play(id, &mut mocks).await {
        Ok(mut run) => {
            player.tell_times(&mut run);
            answer(&workflow_json(run, true)?)
        }
        Err(refusal) => {
            let why = "its test-run was refused";
            // It may have ended; why it was refused is what counts.
            if let Err(error) = app.engine.terminate(id, why).await {
                tracing::debug!(%error, workflow_id = %id, "a refused test-run was not terminated");
            }
            Err(refusal)
        }
    }
}

impl Mock {
    fn update(&self) -> Result<TaskUpdate, Refusal> {
        let status = self.status.as_deref().unwrap_or("COMPLETED");
        let output = Value::Object(self.output.clone().unwrap_or_default());
        Ok(update_of(status, Duration::ZERO, None)?.output(output))
    }
}

impl Mocks {
    /// Holds what can be told without the run.
    fn check(&self, path: &str) -> Result<(), Refusal> {
        for (name, mocks) in self.task_ref_to_mock_output.iter().flatten() {
            for (number, mock) in mocks.iter().flatten().enumerate() {
                if let Err(why) = mock.update() {
                    let at = format!("{path}.taskRefToMockOutput.{name}[{number}].status");
                    return Err(Refusal::argument(&at, why.message));
                }
            }
        }
        let mut below = self.sub_workflow_test_request.iter().flatten();
        below.try_for_each(|(name, mocks)| {
            mocks.check(&format!("{path}.subWorkflowTestRequest.{name}"))
        })
    }

    /// What the engine does itself has no mock.
    fn fits(&self, run: &Execution) -> Result<(), Refusal> {
        for step in run.definition.all_tasks() {
            let name = &step.task_reference_name;
            // Other events end when they are published.
            let stays = step.task_type != TaskType::Event || step.async_complete;
            if !(stays && is_worked_at(&step.task_type)) && self.has(name) {
                let why = format!("a {} is done by the server itself", step.task_type.as_str());
                let at = format!("$.taskRefToMockOutput.{name}");
                return Err(Refusal::argument(&at, why));
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        let of_name = self.task_ref_to_mock_output.as_ref().and_then(|all| all.get(name));
        of_name.is_some_and(|mocks| mocks.as_ref().is_some_and(|mocks| !mocks.is_empty()))
    }

    fn next(&mut self, name: &str) -> Option<Mock> {
        self.task_ref_to_mock_output.as_mut()?.get_mut(name)?.as_mut()?.pop_front()
    }
}

/// Whether somebody other than the engine ends such a task. What a `DYNAMIC` is, is told when it is
/// there.
fn is_worked_at(task_type: &TaskType) -> bool {
    use TaskType::{Dynamic, Event, Http, Human, Other, Simple, UserDefined, Wait};
    matches!(task_type, Dynamic | Event | Http | Human | Other(_) | Simple | UserDefined | Wait)
}

struct Player<'a> {
    app: &'a App,
    began: Instant,
    /// Mocks that were told of, by the task's id.
    told: BTreeMap<String, Mock>,
}

impl Player<'_> {
    /// Plays a run until it has ended, or a task is open that has no mock. Out: the run.
    async fn play(&mut self, id: WorkflowId, mocks: &mut Mocks) -> Result<Execution, Refusal> {
        let mut run = self.app.engine.get(id).await?;
        mocks.fits(&run)?;
        while !run.status.is_terminal() && self.began.elapsed() < RUN_MAX {
            let open = run.tasks.iter().filter(|task| !task.status.is_terminal());
            let (worked, own): (Vec<_>, Vec<_>) =
                open.partition(|task| is_worked_at(&TaskType::from(task.task_type.as_str())));
            if worked.iter().any(|task| !mocks.has(&task.reference_task_name)) {
                break;
            }
            for task in &worked {
                self.tell(id, task, mocks).await?;
            }
            if worked.is_empty() {
                if self.is_stuck_below(&own, mocks).await? {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            run = self.app.engine.get(id).await?;
        }
        Ok(run)
    }

    async fn tell(
        &mut self,
        id: WorkflowId,
        task: &TaskExecution,
        mocks: &mut Mocks,
    ) -> Result<(), Refusal> {
        let name = &task.reference_task_name;
        if let Some(mock) = mocks.next(name) {
            self.app.engine.update_named_task(id, name, mock.update()?).await?;
            self.told.insert(task.task_id.clone(), mock);
        }
        Ok(())
    }

    /// Plays the sub-workflows of these tasks. Out: whether one of them waits for what has no mock.
    async fn is_stuck_below(
        &mut self,
        tasks: &[&TaskExecution],
        mocks: &mut Mocks,
    ) -> Result<bool, Refusal> {
        for task in tasks {
            let child = task.output_data.get("subWorkflowId").and_then(Value::as_str);
            let Some(child) = child.and_then(|child| child.parse().ok()) else { continue };
            let below = mocks.sub_workflow_test_request.get_or_insert_default();
            let below = below.entry(task.reference_task_name.clone()).or_default();
            if !Box::pin(self.play(child, below)).await?.status.is_terminal() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows how long tasks waited and took by their mocks.
    fn tell_times(&self, run: &mut Execution) {
        for task in &mut run.tasks {
            let (Some(mock), Some(end)) = (self.told.get(&task.task_id), task.end_time) else {
                continue;
            };
            let ms = |ms: Option<u32>| TimeDelta::milliseconds(i64::from(ms.unwrap_or(0)));
            let (took, waited) = (ms(mock.execution_time), ms(mock.queue_wait_time));
            if took + waited > TimeDelta::zero() {
                task.start_time = Some(end - took);
                task.scheduled_time = end - took - waited;
            }
        }
    }
}
