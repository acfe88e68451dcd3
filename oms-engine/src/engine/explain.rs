//! Why runs stand where they stand.

use super::{Engine, connection};
use crate::advance::Explanation;
use crate::error::Error;
use crate::ids::WorkflowId;

impl Engine {
    /// Why a run stands where it stands, and where its time went, as of one moment: what each open
    /// task waits for, since when, until when, who holds it and how many are before it; the critical
    /// path, and what each step took.
    ///
    /// It reads no payloads, of open tasks the hundred oldest, and of ended attempts the last
    /// 50,000.
    ///
    /// ```no_run
    /// # async fn example(engine: oms_engine::Engine, id: oms_engine::WorkflowId)
    /// # -> Result<(), oms_engine::Error> {
    /// let explained = engine.explain(id).await?;
    /// println!("{}", explained.summary);
    /// for task in &explained.open_tasks {
    ///     println!("{}", task.summary);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn explain(&self, id: WorkflowId) -> Result<Explanation, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = async {
                let tx = core.store.begin_reading(client.client()?).await?;
                core.explain(&tx, id).await
            };
            let done = done.await;
            client.settle(done)
        })
        .await
    }
}
