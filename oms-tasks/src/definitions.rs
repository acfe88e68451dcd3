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
    read_tasks("task_definitions.json", TASK_DEFINITIONS)
}

fn read_tasks(place: &str, text: &str) -> Result<Vec<TaskDef>, Error> {
    let texts: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|source| Error::Json { place: place.to_owned(), source })?;
    texts
        .iter()
        .map(|text| TaskDef::from_json(&text.to_string()))
        .collect::<Result<_, _>>()
        .map_err(|faults| Error::Definition { faults })
}

/// The definitions of version 2 of `order_fulfilment`, beside those of version 1: registered, runs that are
/// started without a version are of version 2, and runs of version 1 end as such.
pub mod v2 {
    use oms_engine::{TaskDef, WorkflowDef};

    use super::{read_tasks, task_definitions as task_definitions_v1};
    use crate::error::Error;

    /// The text of `order_fulfilment` version 2.
    pub const ORDER_FULFILMENT: &str = include_str!("../definitions/order_fulfilment_v2.json");
    /// The text of `order_delivery`, which it runs as a part.
    pub const ORDER_DELIVERY: &str = include_str!("../definitions/order_delivery.json");
    /// The text of `order_closing`, which undoes an order of either version.
    pub const ORDER_CLOSING: &str = include_str!("../definitions/order_closing.json");
    /// The text of `reservation_expiry`.
    pub const RESERVATION_EXPIRY: &str = include_str!("../definitions/reservation_expiry.json");
    /// The text of `order_return`, which gives the price of returned pieces back.
    pub const ORDER_RETURN: &str = include_str!("../definitions/order_return.json");
    /// The text of the task definitions that version 1 does not have: a JSON array.
    pub const TASK_DEFINITIONS: &str = include_str!("../definitions/task_definitions_v2.json");

    /// All workflows of version 2, those that others name first.
    ///
    /// # Errors
    /// [`Error::Definition`] when this crate was built with a broken definition.
    pub fn workflow_definitions() -> Result<Vec<WorkflowDef>, Error> {
        [ORDER_CLOSING, RESERVATION_EXPIRY, ORDER_DELIVERY, ORDER_RETURN, ORDER_FULFILMENT]
            .iter()
            .map(|text| WorkflowDef::from_json(text).map_err(|faults| Error::Definition { faults }))
            .collect()
    }

    /// The definitions of all tasks, of both versions.
    ///
    /// # Errors
    /// As [`workflow_definitions`].
    pub fn task_definitions() -> Result<Vec<TaskDef>, Error> {
        let mut all = task_definitions_v1()?;
        all.extend(read_tasks("task_definitions_v2.json", TASK_DEFINITIONS)?);
        Ok(all)
    }
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
    fn version_two_names_defined_tasks_and_each_of_its_own_is_registered() {
        let task_defs: BTreeMap<String, TaskDef> =
            v2::task_definitions().unwrap().into_iter().map(|d| (d.name.clone(), d)).collect();
        let mut text = String::new();
        for def in v2::workflow_definitions().unwrap() {
            validate(&def, &task_defs).unwrap();
            assert!(def.extra.is_empty(), "unknown fields in {}", def.name);
            text.push_str(&serde_json::to_string(&def).unwrap());
        }
        for def in task_defs.values() {
            validate_task_def(def).unwrap();
            assert!(def.extra.is_empty(), "unknown fields in {}", def.name);
        }
        let own: Vec<serde_json::Value> = serde_json::from_str(v2::TASK_DEFINITIONS).unwrap();
        for def in own {
            assert!(
                text.contains(&format!("\"name\":{}", def["name"])),
                "{} is not used",
                def["name"]
            );
        }
    }

    #[test]
    fn a_failed_fulfilment_is_unwound() {
        let fulfilment = order_fulfilment().unwrap();
        assert_eq!(fulfilment.failure_workflow, Some(order_unwinding().unwrap().name));
    }
}
