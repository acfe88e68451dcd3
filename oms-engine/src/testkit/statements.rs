//! The engine's statements, for tests that prepare them and read their plans.

use std::time::Duration;

use crate::error::Error;
use crate::store::Store;

/// Every statement of the engine by the name of its file, and `start_new`, which is made of
/// `start_workflows`, for tables in `schema`.
///
/// # Errors
/// [`Error::Config`] when the schema's name is refused.
pub fn statements(schema: &str) -> Result<Vec<(&'static str, String)>, Error> {
    Ok(Store::new(schema, Duration::from_secs(10))?.statements())
}

/// The settings of the planner under which the engine's statements run, as statements for a test's
/// own connection.
#[must_use]
pub fn planner() -> String {
    crate::store::plan_ours().replace("SET LOCAL ", "SET ")
}
