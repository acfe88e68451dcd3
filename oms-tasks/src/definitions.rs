//! The definitions that come with the tasks, as Conductor's JSON.

use oms_engine::{TaskDef, WorkflowDef};

use crate::error::Error;

/// The text of `order_fulfilment`: the five tasks in a row.
pub const ORDER_FULFILMENT: &str = include_str!("../definitions/order_fulfilment.json");
/// The text of `order_unwinding`, the failure workflow of `order_fulfilment`.
pub const ORDER_UNWINDING: &str = include_str!("../definitions/order_unwinding.json");
/// The text of the task definitions of both: a JSON array.
pub const TASK_DEFINITIONS: &str = include_str!("../definitions/task_definitions.json");

/// The workflow that takes an order through the five tasks. Its input is described in
/// `docs/order-tables.md`.
///
/// # Errors
/// [`Error::Definition`] when this crate was built with a broken definition.
pub fn order_fulfilment() -> Result<WorkflowDef, Error> {
    WorkflowDef::from_json(ORDER_FULFILMENT).map_err(|faults| Error::Definition { faults })
}

/// The workflow that undoes what a failed [`order_fulfilment`] did.
///
/// # Errors
/// As [`order_fulfilment`].
pub fn order_unwinding() -> Result<WorkflowDef, Error> {
    WorkflowDef::from_json(ORDER_UNWINDING).map_err(|faults| Error::Definition { faults })
}

/// Both workflows, the failure workflow first, so that they can be registered in this order.
///
/// # Errors
/// As [`order_fulfilment`].
pub fn workflow_definitions() -> Result<Vec<WorkflowDef>, Error> {
    Ok(vec![order_unwinding()?, order_fulfilment()?])
}

/// The definitions of the ten tasks: retries with short delays, time limits.
///
/// # Errors
/// As [`order_fulfilment`].
pub fn task_definitions() -> Result<Vec<TaskDef>, Error> {
    let texts: Vec<serde_json::Value> = serde_json::from_str(TASK_DEFINITIONS)
        .map_err(|source| Error::Json { place: "task_definitions.json".to_owned(), source })?;
    texts
        .iter()
        .map(|text| TaskDef::from_json(&text.to_string()))
        .collect::<Result<_, _>>()
        .map_err(|faults| Error::Definition { faults })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use oms_engine::definition::{validate, validate_task_def};

    use super::*;

    #[test]
    fn the_definitions_are_valid_and_name_exactly_the_defined_tasks() {
        let task_defs: BTreeMap<String, TaskDef> =
            task_definitions().unwrap().into_iter().map(|def| (def.name.clone(), def)).collect();
        let mut named = BTreeSet::new();
        for def in workflow_definitions().unwrap() {
            validate(&def, &task_defs).unwrap();
            assert!(def.extra.is_empty(), "unknown fields in {}", def.name);
            named.extend(def.tasks.iter().map(|task| task.name.clone()));
        }
        for def in task_defs.values() {
            validate_task_def(def).unwrap();
            assert!(def.extra.is_empty(), "unknown fields in {}", def.name);
        }
        assert_eq!(named, task_defs.into_keys().collect());
    }

    #[test]
    fn a_failed_fulfilment_is_unwound() {
        let fulfilment = order_fulfilment().unwrap();
        assert_eq!(fulfilment.failure_workflow, Some(order_unwinding().unwrap().name));
    }
}
