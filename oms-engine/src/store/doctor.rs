//! What is wrong with a server or with the engine's tables.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;

/// From when on something is told of: seconds, seconds, connections, rows.
pub(crate) type Bounds = (f64, f64, i64, i64);

impl Store {
    /// What the role of this connection may not do that an engine does.
    pub(crate) async fn doctor_rights(&self, db: &impl Executor) -> Result<Vec<String>, Error> {
        let sql = &self.sql.doctor_rights;
        let rows = self.rows(db, sql, &[&self.schema], "looking at rights").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Kinds, and what it is.
    pub(crate) async fn doctor(
        &self,
        db: &impl Executor,
        bounds: Bounds,
    ) -> Result<Vec<(String, String)>, Error> {
        let params: [&(dyn ToSql + Sync); 4] = [&bounds.0, &bounds.1, &bounds.2, &bounds.3];
        let rows = self.rows(db, &self.sql.doctor, &params, "looking for what is wrong").await?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    pub(crate) async fn doctor_time(&self, db: &impl Executor) -> Result<DateTime<Utc>, Error> {
        get(&self.one(db, &self.sql.doctor_time, &[], "asking for the time").await?, 0)
    }
}
