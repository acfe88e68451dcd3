"""The official Conductor SDK for Python, unmodified, against `oms server`: registers definitions, starts
five workers as in the order scenario, places orders and waits for their ends.

Usage: order_flow.py URL
"""

import sys
import time
from typing import Any

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest, TaskDef, WorkflowDef, WorkflowTask
from conductor.client.orkes_clients import OrkesClients
from conductor.client.worker.worker_task import worker_task
from conductor.client.worker.exception import NonRetryableException

STEPS = [
    "order_acknowledgement",
    "payment_processing",
    "inventory_reservation",
    "delivery_scheduling",
    "order_notification",
]
ORDERS = 10
failed_once = set()


@worker_task(task_definition_name=STEPS[0])
def acknowledge(order: str) -> dict:
    return {"order": order, "acknowledged": True}


@worker_task(task_definition_name=STEPS[1])
def pay(order: str) -> dict:
    if order.endswith("declined"):
        raise NonRetryableException("the card was declined")
    if order not in failed_once:
        failed_once.add(order)
        raise RuntimeError("the gateway did not answer")
    return {"order": order, "paid": True}


@worker_task(task_definition_name=STEPS[2])
def reserve(order: str) -> dict:
    return {"order": order, "reserved": 1}


@worker_task(task_definition_name=STEPS[3])
def schedule(order: str) -> dict:
    return {"order": order, "slot": "morning"}


@worker_task(task_definition_name=STEPS[4])
def notify(order: str) -> dict:
    return {"order": order, "told": True}


def definition() -> WorkflowDef:
    tasks = [
        WorkflowTask(
            name=name,
            task_reference_name=name,
            type="SIMPLE",
            input_parameters={"order": "${workflow.input.order}"},
        )
        for name in STEPS
    ]
    return WorkflowDef(name="order", version=1, tasks=tasks, schema_version=2, timeout_seconds=0)


def wait(client: Any, workflow_id: str) -> Any:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        run = client.get_workflow(workflow_id, include_tasks=True)
        if run.status in ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT"):
            return run
        time.sleep(0.1)
    sys.exit(f"FAILED: {workflow_id} did not end")


def expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        sys.exit(f"FAILED: {what}: {found!r}, not {expected!r}")


def main(url: str) -> None:
    configuration = Configuration(server_api_url=f"{url}/api")
    clients = OrkesClients(configuration=configuration)
    metadata, workflows = clients.get_metadata_client(), clients.get_workflow_client()
    for name in STEPS:
        metadata.register_task_def(
            TaskDef(name=name, retry_count=2, retry_delay_seconds=0, timeout_seconds=60,
                    response_timeout_seconds=30)
        )
    metadata.register_workflow_def(definition(), overwrite=True)
    expect("the definition's steps", len(metadata.get_workflow_def("order", version=1).tasks), 5)

    with TaskHandler(workers=[], configuration=configuration, scan_for_annotated_workers=True) as handler:
        handler.start_processes()
        orders = [f"order-{n}" for n in range(ORDERS)] + ["order-declined"]
        ids = [
            workflows.start_workflow(
                StartWorkflowRequest(name="order", version=1, input={"order": order}, correlation_id=order)
            )
            for order in orders
        ]
        runs = [wait(workflows, workflow_id) for workflow_id in ids]

    for order, run in zip(orders, runs):
        statuses = [(task.reference_task_name, task.status) for task in run.tasks]
        if order.endswith("declined"):
            expect(order, run.status, "FAILED")
            expect(order, statuses[-1], (STEPS[1], "FAILED_WITH_TERMINAL_ERROR"))
            continue
        expect(order, run.status, "COMPLETED")
        expect(order, run.output, {"order": order, "told": True})
        paid = [status for name, status in statuses if name == STEPS[1]]
        expect(f"{order}'s payments", paid, ["FAILED", "COMPLETED"])
    print(f"{len(runs)} orders by the official Python SDK")


if __name__ == "__main__":
    main(sys.argv[1])
