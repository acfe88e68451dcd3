//! What a case's steps do to a run.

use oms_engine::{Error, RerunRequest, RestartOptions, RetryOptions, Signal, WorkflowId};
use serde_json::{Map, Value, json};

use crate::play::{Leased, Player};

impl Player {
    async fn terminate(&self, id: WorkflowId, reason: &str, undone: bool) -> Result<(), Error> {
        if undone {
            return self.engine.terminate_with_compensation(id, reason).await;
        }
        self.engine.terminate(id, reason).await
    }

    pub(crate) async fn act(
        &self,
        id: WorkflowId,
        step: &Map<String, Value>,
        leased: &[Leased],
    ) -> Result<(), Error> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        let engine = &self.engine;
        if let Some(seconds) = step.get("advance").and_then(Value::as_f64) {
            self.pass(seconds).await;
            return Ok(());
        }
        if let Some(name) = text("complete").or_else(|| text("fail")) {
            let output = step.get("output").cloned();
            let terminal = step.get("terminal") == Some(&json!(true));
            let task_of =
                |t: &&Leased| t.reference_name == name && t.task_id.starts_with(&id.to_string());
            if let Some(task) = leased.iter().find(task_of) {
                let status = match (text("complete"), terminal) {
                    (Some(_), _) => "COMPLETED",
                    (None, true) => "FAILED_WITH_TERMINAL_ERROR",
                    (None, false) => "FAILED",
                };
                let mut outcome = json!({ "status": status, "reason": text("reason") });
                if let Some(output) = output {
                    outcome["output"] = output;
                }
                self.release(&task.task_id, outcome);
                return Ok(());
            }
            let output = output.unwrap_or_else(|| json!({}));
            let signal = match text("complete") {
                Some(_) => Signal::completed(output),
                None => {
                    let failed = Signal::failed(text("reason").unwrap_or_default());
                    let failed = failed.with_output(output);
                    if terminal { failed.terminal() } else { failed }
                }
            };
            return engine.signal(id, name, signal).await.map(drop);
        }
        if let Some(reason) = text("terminate") {
            return self.terminate(id, reason, step.contains_key("compensate")).await;
        }
        if let Some(from) = step.get("rerun") {
            return engine.rerun(id, self.rerun(id, from, step).await).await;
        }
        if let Some(name) = text("skip") {
            let object = |key: &str| step.get(key).cloned().unwrap_or_else(|| json!({}));
            return engine.skip(id, name, object("input"), object("output")).await;
        }
        for (key, _) in step {
            match key.as_str() {
                "pause" => return engine.pause(id).await,
                "resume" => return engine.resume(id).await,
                "setVariables" => return engine.set_variables(id, step[key].clone()).await,
                "resetCallbacks" => return engine.reset_callbacks(id).await,
                "retry" => {
                    let resume = step["retry"]["resumeSubworkflowTasks"] == true;
                    let options = if resume {
                        RetryOptions::resuming_sub_workflows()
                    } else {
                        RetryOptions::default()
                    };
                    return engine.retry(id, options).await;
                }
                "restart" => return engine.restart(id, RestartOptions::default()).await,
                "in" | "refused" => {}
                other => panic!("{other:?} is no step yet"),
            }
        }
        panic!("{step:?} is no step")
    }

    async fn rerun(&self, id: WorkflowId, from: &Value, step: &Map<String, Value>) -> RerunRequest {
        let mut request = match (from.as_str(), step.get("of").and_then(Value::as_str)) {
            (None, _) => RerunRequest::new(),
            (Some(name), None) => RerunRequest::from_step(name),
            (Some(name), Some(path)) => {
                let run = self.engine.get(self.below(id, path).await.unwrap()).await.unwrap();
                RerunRequest::from_task(run.task(name).unwrap().task_id.parse().unwrap())
            }
        };
        if let Some(input) = step.get("input") {
            request = request.task_input(input.clone());
        }
        if let Some(input) = step.get("workflowInput") {
            request = request.workflow_input(input.clone());
        }
        if let Some(id) = step.get("correlationId").and_then(Value::as_str) {
            request = request.correlation_id(id);
        }
        request
    }
}
