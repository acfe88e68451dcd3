//! Starts that bring their definition with them.

use super::{Engine, connection};
use crate::advance::{NewRun, Resolved};
use crate::definition::WorkflowDef;
use crate::error::Error;

impl Engine {
    /// What a start goes by.
    pub(super) async fn resolve_for(
        &self,
        new: &NewRun,
        name: &str,
        version: Option<i32>,
    ) -> Result<Resolved, Error> {
        match &new.definition {
            Some(def) => Box::pin(self.resolve_inline(def)).await,
            None => self.resolved(name, version).await,
        }
    }

    /// The plan of a definition that is no registered one: that of the row that says just this.
    pub(super) async fn resolve_inline(&self, def: &WorkflowDef) -> Result<Resolved, Error> {
        self.check_http(def)?;
        let core = &self.inner.shared.core;
        let mut client = connection(&self.inner.pool).await?;
        let done = async {
            let tx = core.store.begin(client.client()?).await?;
            let resolved = core.inline_of(&tx, Box::new(def.clone())).await?;
            core.store.commit(tx).await?;
            Ok(resolved)
        };
        let done = done.await;
        client.settle(done)?.map_err(|faults| Error::InvalidDefinition { faults })
    }
}
