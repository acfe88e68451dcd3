//! Whether a connection is a session, or shares them with others.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use super::Connector;
use crate::error::{Doing as _, Error};
use crate::ids::WorkflowId;

const DOING: &str = "looking whether connections are sessions";
/// A pooler may give its sessions out in turn.
const ROUNDS: usize = 4;
const READ: &str = "SELECT current_setting('oms_engine.mark', true)";

impl Connector {
    /// Refuses a pooler that gives a connection another session for each transaction. An advisory
    /// lock would stay with a session that others use, and no wake-up would arrive.
    ///
    /// Only simple queries: named statements fail there by themselves, with messages that do not
    /// tell why.
    pub(crate) async fn refuse_shared_sessions(&self, own: &ClientWrapper) -> Result<(), Error> {
        let mark = WorkflowId::new().as_uuid();
        let set = format!("SELECT set_config('oms_engine.mark', '{mark}', false)");
        self.within(own.batch_execute(&set)).await?;
        let (other, _notifications) = self.connect().await?;
        for _ in 0..ROUNDS {
            // It keeps what it has got until the own one has asked.
            self.within(other.batch_execute("BEGIN")).await?;
            let is_others = self.is_marked(&other, mark).await?;
            let is_own = self.is_marked(own, mark).await?;
            self.within(other.batch_execute("COMMIT")).await?;
            if is_others || !is_own {
                return Err(Error::SharedSessions { target: self.target() });
            }
        }
        Ok(())
    }

    async fn is_marked(&self, client: &ClientWrapper, mark: Uuid) -> Result<bool, Error> {
        let messages = self.within(client.simple_query(READ)).await?;
        Ok(messages.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some(&mark.to_string()),
            _ => false,
        }))
    }

    async fn within<T>(
        &self,
        done: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let after = self.deadline;
        let done = tokio::time::timeout(after, done).await;
        done.map_err(|_| Error::Deadline { doing: DOING, after })?.doing(DOING)
    }
}
