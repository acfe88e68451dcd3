//! Definitions by name: read, registered once, checked, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definitions::{Registering, read};
use super::{Engine, connection};
use crate::definition::{Limits, TaskDef, WorkflowDef};
use crate::error::Error;
use crate::queue::LIMITS_NOTE;

impl Engine {
    /// Registers a workflow definition whose name and version are new.
    ///
    /// # Errors
    /// [`Error::DefinitionExists`]; as [`register`](Self::register).
    pub async fn register_new_workflow(
        &self,
        workflow: &WorkflowDef,
    ) -> Result<super::Registered, Error> {
        self.register_with(&[], std::slice::from_ref(workflow), Registering::New).await
    }

    /// Whether a workflow definition could be registered now, on this engine. Nothing is changed.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn validate_workflow(
        &self,
        workflow: &WorkflowDef,
    ) -> Result<super::Registered, Error> {
        self.register_with(&[], std::slice::from_ref(workflow), Registering::Nothing).await
    }

    /// A current workflow definition; without a version the latest.
    ///
    /// # Errors
    /// [`Error::DefinitionNotFound`].
    pub async fn workflow_definition(
        &self,
        name: &str,
        version: Option<i32>,
    ) -> Result<WorkflowDef, Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        let name = name.to_owned();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let found = core.store.find_definition(client.client()?, &name, version).await;
            match client.settle(found)? {
                Some(row) => Ok(Arc::unwrap_or_clone(row.definition)),
                None => Err(Error::DefinitionNotFound { name, version }),
            }
        })
        .await
    }

    /// The task definitions, by name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn task_definitions(&self) -> Result<Vec<TaskDef>, Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let rows = core.store.list_task_definitions(client.client()?).await;
            client.settle(rows)?.into_values().map(read).collect()
        })
        .await
    }

    /// A task definition.
    ///
    /// # Errors
    /// [`Error::TaskDefinitionNotFound`].
    pub async fn task_definition(&self, name: &str) -> Result<TaskDef, Error> {
        let all = self.task_definitions().await?;
        let found = all.into_iter().find(|def| def.name == name);
        found.ok_or_else(|| Error::TaskDefinitionNotFound { name: name.to_owned() })
    }

    /// Removes a version of a workflow definition: nothing is started by it any more. Runs that it
    /// has go on.
    ///
    /// # Errors
    /// [`Error::DefinitionNotFound`].
    pub async fn remove_workflow_definition(&self, name: &str, version: i32) -> Result<(), Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        let name = name.to_owned();
        let done = self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = async {
                let tx = core.store.begin(client.client()?).await?;
                core.store.lock_definitions(&tx).await?;
                let found = core.store.find_definition(&tx, &name, Some(version)).await?;
                if found.is_none() {
                    let version = Some(version);
                    return Err(Error::DefinitionNotFound { name: name.clone(), version });
                }
                core.store.remove_definition(&tx, (&name, version)).await?;
                core.store.commit(tx).await
            };
            let done = done.await;
            client.settle(done)
        });
        let done = done.await;
        self.forget_resolved();
        done
    }

    /// Removes a task definition. Workflow definitions that name it keep what it said when they
    /// were registered last; its limits are gone.
    ///
    /// # Errors
    /// [`Error::TaskDefinitionNotFound`].
    pub async fn remove_task_definition(&self, name: &str) -> Result<(), Error> {
        let shared = self.inner.shared.clone();
        let pool = self.inner.pool.clone();
        let name = name.to_owned();
        self.on_own_threads(async move {
            let store = &shared.core.store;
            let mut client = connection(&pool).await?;
            let done = async {
                let tx = store.begin(client.client()?).await?;
                store.lock_definitions(&tx).await?;
                if !store.remove_task_definition(&tx, &name).await? {
                    return Err(Error::TaskDefinitionNotFound { name: name.clone() });
                }
                store.lock_limits(&tx, &[&name]).await?;
                let limits = if store.put_limit(&tx, &name, Limits::default()).await? {
                    store.notify(&tx, &[LIMITS_NOTE]).await?;
                    Some(store.list_limits(&tx).await?)
                } else {
                    None
                };
                store.commit(tx).await?;
                Ok(limits)
            };
            let done = done.await;
            if let Some(limits) = client.settle(done)? {
                shared.wakes.wake_all(shared.slots.set_limits(limits));
            }
            Ok(())
        })
        .await
    }

    /// How many tasks wait in each queue for a worker, now or after a delay.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn queue_sizes(&self) -> Result<BTreeMap<String, i64>, Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let sizes = core.store.queue_sizes(client.client()?).await;
            client.settle(sizes)
        })
        .await
    }

    /// What expressions read as `workflow.env`.
    #[must_use]
    pub fn env(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.inner.sources.env
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let answer = core.store.check_lease(client.client()?, 0, 0).await;
            client.settle(answer).map(drop)
        })
        .await
    }
}
