"""Places an order, follows it to its end and tells what happened.

Usage: place_order.py [--sku SKU] [--quantity N] [--card CARD] [--json]
"""

import argparse
import json
import sys
import time
import uuid

from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest
from conductor.client.orkes_clients import OrkesClients

LOOK_SECONDS = 0.1
DEADLINE_SECONDS = 120


def main() -> None:
    options = parse()
    order_id = f"order-{uuid.uuid4()}"
    client = OrkesClients(configuration=Configuration(log_level="WARNING")).get_workflow_client()
    request = StartWorkflowRequest(
        name="order_fulfilment",
        version=1,
        input=order(order_id, options.sku, options.quantity, options.card),
        correlation_id=order_id,
        idempotency_key=order_id,
    )
    workflow_id = client.start_workflow(request)
    say = (lambda *_: None) if options.json else print
    say(f"{order_id} placed as workflow {workflow_id}")
    run = follow(client, workflow_id, say)
    output = run.output or {}
    if unwinding := output.get("conductor.failure_workflow"):
        say(f"{run.status}: {run.reason_for_incompletion}; what was done is undone")
        output = follow(client, unwinding, say).output
    if options.json:
        print(json.dumps({"status": run.status, "reason": run.reason_for_incompletion, **output}))
    else:
        say(f"{run.status}: {json.dumps(output, indent=2)}")
    sys.exit(run.status != "COMPLETED")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Places an order and follows it to its end.")
    parser.add_argument("--sku", default="lamp", help="the article; 'sold-out' is never on the shelf")
    parser.add_argument("--quantity", type=int, default=2)
    parser.add_argument("--card", default="visa",
                        help="visa, declined, timeout, timeout_after_charge, fail_once or slow")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args()


def order(order_id: str, sku: str, quantity: int, card: str) -> dict:
    return {
        "order_id": order_id,
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "lines": [{"sku": sku, "quantity": quantity}],
        "payment": {"method": "card", "token": f"tok_{card}"},
        "ship_to": {
            "street": "St James's Square 12",
            "city": "London",
            "postal_code": "SW1Y 4JH",
            "country": "GB",
        },
        "currency": "EUR",
    }


def follow(client, workflow_id: str, say):
    told, begun = set(), time.monotonic()
    while time.monotonic() - begun < DEADLINE_SECONDS:
        run = client.get_workflow(workflow_id, include_tasks=True)
        for task in run.tasks:
            if task.end_time and task.task_id not in told:
                told.add(task.task_id)
                say(f"  {task.reference_task_name:<22} {task.status:<27} {task.reason_for_incompletion or ''}")
        if run.status in ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT"):
            return run
        time.sleep(LOOK_SECONDS)
    sys.exit(f"workflow {workflow_id} did not end within {DEADLINE_SECONDS} s; do the five services run?")


if __name__ == "__main__":
    main()
