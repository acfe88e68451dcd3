//! Compiled definitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::route::Polls;
use crate::decide::Plan;
use crate::error::Error;
use crate::store::{DefinitionRow, Executor, Store};

/// Plans that are kept; beyond that the cache begins anew.
const PLANS_MAX: usize = 4_096;

/// Compiled definitions by id. A row is immutable, so a plan never goes stale.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    by_id: Mutex<HashMap<i64, Arc<Plan>>>,
    /// What the engine was given for expressions to read.
    env: Arc<Map<String, Value>>,
    /// With a plan, it says where a task goes.
    pub(crate) polls: Arc<Polls>,
}

impl Plans {
    pub(crate) fn new(env: Arc<Map<String, Value>>) -> Self {
        Self { env, ..Self::default() }
    }

    pub(crate) fn get(&self, id: i64) -> Option<Arc<Plan>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Compiles a row and keeps its plan.
    pub(crate) fn compile(&self, row: DefinitionRow) -> Result<Arc<Plan>, Error> {
        let DefinitionRow { id, definition, task_definitions } = row;
        let plan = Plan::compile(id, definition, &task_definitions)
            .map_err(|faults| Error::InvalidDefinition { faults })?;
        let plan = Arc::new(plan.with_env(self.env.clone()));
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if by_id.len() >= PLANS_MAX {
            by_id.clear();
        }
        by_id.insert(id, plan.clone());
        Ok(plan)
    }

    /// The plans of these definitions.
    pub(super) async fn load(
        &self,
        store: &Store,
        db: &impl Executor,
        ids: impl Iterator<Item = i64> + Send,
    ) -> Result<HashMap<i64, Arc<Plan>>, Error> {
        let mut plans = HashMap::new();
        let mut missing = Vec::new();
        for id in ids {
            match self.get(id) {
                Some(plan) => {
                    plans.insert(id, plan);
                }
                None if !missing.contains(&id) => missing.push(id),
                None => {}
            }
        }
        if !missing.is_empty() {
            for row in store.load_definitions(db, &missing).await? {
                let id = row.id;
                plans.insert(id, self.compile(row)?);
            }
        }
        Ok(plans)
    }
}
