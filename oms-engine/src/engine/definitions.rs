//! Registering definitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Engine, connection};
use crate::advance::Core;
use crate::decide::Plan;
use crate::definition::{
    Fault, Faults, LEFT_DONE, NamesSchemas, Notice, TaskDef, TaskSchemas, TaskType, WorkflowDef,
    misfits, never_undone, steps_of, validate, validate_limits, validate_task_def,
};
use crate::error::Error;
use crate::maintain::Shared;
use crate::queue::LIMITS_NOTE;
use crate::store::{LimitsInForce, Pool};

/// What becomes of what is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registering {
    /// It takes the place of what is there.
    Over,
    /// It is refused where there is one.
    New,
    /// It is only checked.
    Nothing,
}

/// What was registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// What the definitions say without an effect, and templates that cannot fit the types that
    /// tasks of this process publish. It is logged as well.
    pub notices: Vec<Notice>,
}

impl Engine {
    /// Registers task definitions, then workflow definitions, all or none.
    ///
    /// A text that is registered already is left as it is. Another text under the same name and
    /// version takes its place for new runs; runs that go on stay on the one they started with.
    /// A limit of a task definition is kept by all engines when this returns: it waits for those
    /// that are alive to say so, some milliseconds as a rule, and until one that was killed is known
    /// to be dead. A task definition counts for the workflow definitions that name it from then on. A schema
    /// that a definition names is written into it as it is registered now, and given back so.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`] with every fault of the first definition that has one.
    pub async fn register(
        &self,
        tasks: &[TaskDef],
        workflows: &[WorkflowDef],
    ) -> Result<Registered, Error> {
        self.register_with(tasks, workflows, Registering::Over).await
    }

    pub(super) async fn register_with(
        &self,
        tasks: &[TaskDef],
        workflows: &[WorkflowDef],
        how: Registering,
    ) -> Result<Registered, Error> {
        let mut notices = Vec::new();
        for task in tasks {
            let noticed = validate_task_def(task);
            notices.extend(noticed.map_err(|faults| Error::InvalidDefinition { faults })?);
        }
        for workflow in workflows {
            self.check_http(workflow)?;
        }
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let shared = self.inner.shared.clone();
        let schemas = self.inner.schemas.clone();
        let (tasks, workflows) = (tasks.to_vec(), workflows.to_vec());
        let done = self
            .on_own_threads(async move {
                let mut client = connection(&pool).await?;
                let done =
                    register_all(&core, client.client()?, (tasks, workflows, how), &schemas).await;
                let (mut notices, limits) = client.settle(done)?;
                if let Some(limits) = limits {
                    let version = limits.version;
                    shared.wakes.wake_all(shared.slots.set_limits(limits));
                    notices.extend(until_heard(&shared, &pool, version).await?);
                }
                Ok(notices)
            })
            .await;
        self.forget_resolved();
        notices.extend(done?);
        log_notices(&notices);
        Ok(Registered { notices })
    }

    pub(super) fn check_http(&self, def: &WorkflowDef) -> Result<(), Error> {
        if self.inner.calls_http || cfg!(not(feature = "http")) {
            return Ok(());
        }
        let off = "HTTP is switched off: name the hosts it may call with EngineBuilder::http";
        let steps = steps_of(def, &TaskType::Http).into_iter();
        let faults = steps.map(|path| Fault::new(format!("{path}.type"), off)).collect();
        Faults::check(def.subject(), faults).map_err(|faults| Error::InvalidDefinition { faults })
    }

    /// Registers one workflow definition; see [`register`](Self::register).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn register_workflow(&self, workflow: &WorkflowDef) -> Result<Registered, Error> {
        self.register(&[], std::slice::from_ref(workflow)).await
    }

    /// Registers one task definition; see [`register`](Self::register).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn register_task(&self, task: &TaskDef) -> Result<Registered, Error> {
        self.register(std::slice::from_ref(task), &[]).await
    }

    /// The current workflow definitions, by name and version.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn workflow_definitions(&self) -> Result<Vec<WorkflowDef>, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let rows = core.store.list_definitions(client.client()?).await;
            Ok(client
                .settle(rows)?
                .into_iter()
                .map(|row| Arc::unwrap_or_clone(row.definition))
                .collect())
        })
        .await
    }
}

pub(super) fn log_notices(notices: &[Notice]) {
    for notice in notices {
        tracing::info!(%notice, "a notice on a definition");
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::Invariant {
        workflow_id: None,
        what: format!("a definition in the tables cannot be read: {error}"),
    })
}

pub(super) fn write(value: &impl serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::invalid("definition", format!("cannot be written: {error}")))
}

async fn task_definitions(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
) -> Result<BTreeMap<String, TaskDef>, Error> {
    let rows = core.store.list_task_definitions(tx).await?;
    rows.into_iter().map(|(name, value)| Ok((name, read(value)?))).collect()
}

async fn register_all(
    core: &Core,
    client: &mut ClientWrapper,
    (mut tasks, workflows, how): (Vec<TaskDef>, Vec<WorkflowDef>, Registering),
    schemas: &BTreeMap<String, TaskSchemas>,
) -> Result<(Vec<Notice>, Option<LimitsInForce>), Error> {
    let tx = core.store.begin(client).await?;
    core.store.lock_definitions(&tx).await?;
    if how == Registering::New {
        for def in &workflows {
            if core.store.find_definition(&tx, &def.name, Some(def.version)).await?.is_some() {
                let (name, version) = (def.name.clone(), def.version);
                return Err(Error::DefinitionExists { name, version });
            }
        }
    }
    write_schemas(core, &tx, &mut tasks).await?;
    let limits = register_tasks(core, &tx, &tasks).await?;
    let notices = register_workflows(core, &tx, workflows, schemas).await?;
    if how == Registering::Nothing {
        core.store.roll_back(tx).await?;
        return Ok((notices, None));
    }
    core.store.commit(tx).await?;
    Ok((notices, limits))
}

/// Writes out the schemas that task definitions name.
async fn write_schemas(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
    tasks: &mut [TaskDef],
) -> Result<(), Error> {
    for task in tasks.iter_mut().filter(|task| !task.schemas_named().is_empty()) {
        let missing = core.write_schemas(tx, task).await?;
        let faults = Faults::check(task.subject(), missing);
        let checked = faults.and_then(|()| validate_task_def(task).map(drop));
        checked.map_err(|faults| Error::InvalidDefinition { faults })?;
    }
    Ok(())
}

/// Waits until every engine goes by these limits: until then one might hand a task over as if it
/// had none. A dead one is buried meanwhile. Out: a notice for each that has not answered.
async fn until_heard(shared: &Shared, pool: &Pool, version: i64) -> Result<Vec<Notice>, Error> {
    let patience = shared.config.heartbeat_limit * 2;
    let (begun, mut pause) = (Instant::now(), Duration::from_millis(2));
    loop {
        let mut client = connection(pool).await?;
        let silent = shared.core.store.limits_unheard(client.client()?, version).await;
        let silent = client.settle(silent)?;
        if silent.is_empty() {
            return Ok(Vec::new());
        }
        if begun.elapsed() > patience {
            let message = "has not said within its time that it goes by the new limits";
            let notice = |name| Notice::new(format!("engine {name:?}"), "$", message);
            return Ok(silent.into_iter().map(notice).collect());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Out: the limits in force, where they are others now.
async fn register_tasks(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
    tasks: &[TaskDef],
) -> Result<Option<LimitsInForce>, Error> {
    let (mut changed, mut other_limits) = (Vec::new(), false);
    for task in tasks {
        if core.store.put_task_definition(tx, &task.name, &write(task)?).await? {
            changed.push(task.name.as_str());
        }
    }
    if changed.is_empty() {
        return Ok(None);
    }
    core.store.lock_limits(tx, &changed).await?;
    for task in tasks.iter().filter(|task| changed.contains(&task.name.as_str())) {
        other_limits |= core.store.put_limit(tx, &task.name, task.limits()).await?;
    }
    let all = task_definitions(core, tx).await?;
    for row in core.store.list_definitions(tx).await? {
        let def = row.definition;
        if def.named_of(&all).keys().any(|name| changed.contains(&name.as_str())) {
            validate_limits(&def, &all).map_err(|faults| Error::InvalidDefinition { faults })?;
            put(core, tx, &def, &all).await?;
        }
    }
    if !other_limits {
        return Ok(None);
    }
    core.store.notify(tx, &[LIMITS_NOTE]).await?;
    core.store.list_limits(tx).await.map(Some)
}

async fn register_workflows(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
    workflows: Vec<WorkflowDef>,
    schemas: &BTreeMap<String, TaskSchemas>,
) -> Result<Vec<Notice>, Error> {
    let all = task_definitions(core, tx).await?;
    let (mut notices, mut registered) = (Vec::new(), Vec::new());
    for mut def in workflows {
        let mut faults = core.write_schemas(tx, &mut def).await?;
        match validate(&def, &all) {
            Ok(noticed) => notices.extend(noticed),
            Err(found) => faults.extend(found.iter().cloned()),
        }
        Faults::check(def.subject(), faults)
            .map_err(|faults| Error::InvalidDefinition { faults })?;
        notices.extend(misfits(&def, &all, schemas));
        put(core, tx, &def, &all).await?;
        registered.push(def);
    }
    for def in &registered {
        notices.extend(left_done(core, tx, def).await?);
    }
    Ok(notices)
}

/// Sub-workflows that could be undone, and that the step which runs them does not undo.
async fn left_done(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
    def: &WorkflowDef,
) -> Result<Vec<Notice>, Error> {
    let mut notices = Vec::new();
    for (path, params) in never_undone(def) {
        let child = match (&params.workflow_definition, params.name.as_deref()) {
            (Some(text), _) => WorkflowDef::from_value(text).ok().map(Arc::new),
            (None, Some(name)) => {
                let found = core.store.find_definition(tx, name, params.version).await?;
                found.map(|row| row.definition)
            }
            (None, None) => None,
        };
        let undoable = |child: Arc<WorkflowDef>| {
            child.all_tasks().into_iter().any(|task| task.compensation.is_some())
        };
        if child.is_some_and(undoable) {
            notices.push(Notice::new(def.subject(), path, LEFT_DONE));
        }
    }
    Ok(notices)
}

/// Makes a new row current, unless the current one says the same.
async fn put(
    core: &Core,
    tx: &deadpool_postgres::Transaction<'_>,
    def: &WorkflowDef,
    all: &BTreeMap<String, TaskDef>,
) -> Result<(), Error> {
    let task_defs = def.named_of(all);
    Plan::compile(0, def.clone(), &task_defs)
        .map_err(|faults| Error::InvalidDefinition { faults })?;
    let current = core.store.find_definition(tx, &def.name, Some(def.version)).await?;
    let same =
        current.is_some_and(|row| *row.definition == *def && row.task_definitions == task_defs);
    if !same {
        core.store.replace_definition(tx, def, &task_defs).await?;
    }
    Ok(())
}
