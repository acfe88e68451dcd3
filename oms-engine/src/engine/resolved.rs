//! What starts go by: definitions that were looked up, as long as they are current.

use std::sync::PoisonError;

use super::{Engine, connection};
use crate::advance::{NewRun, Resolved, resolve};
use crate::error::Error;

impl Engine {
    /// What a start goes by, where that is known without a look.
    pub(super) fn known_for(
        &self,
        new: &NewRun,
        name: &str,
        version: Option<i32>,
    ) -> Option<Resolved> {
        if new.definition.is_some() {
            return None;
        }
        let resolved = self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.get(&(name.to_owned(), version)).cloned()
    }

    /// Looks it up on the engine's threads.
    pub(super) async fn resolve_elsewhere(
        &self,
        new: &NewRun,
        name: &str,
        version: Option<i32>,
    ) -> Result<Resolved, Error> {
        let (engine, new, name) = (self.clone(), new.clone(), name.to_owned());
        let work = async move { engine.resolve_for(&new, &name, version).await };
        self.on_own_threads(work).await
    }

    /// A registered definition and what is made of it, looked up once.
    pub(super) async fn resolved(
        &self,
        name: &str,
        version: Option<i32>,
    ) -> Result<Resolved, Error> {
        let key = (name.to_owned(), version);
        let known =
            self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut client = connection(&self.inner.pool).await?;
        let done = resolve(&self.inner.shared.core, client.client()?, name, version).await;
        let resolved = client.settle(done)?;
        self.inner
            .resolved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, resolved.clone());
        Ok(resolved)
    }
}
