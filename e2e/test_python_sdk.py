"""The official SDK for Python: the five services of examples/python, unmodified."""

import json
import sys
import uuid

from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest
from conductor.client.orkes_clients import OrkesClients

import scenario
from harness import PYTHON, Shop

SERVICES = ["order_acknowledgement", "payment_processing", "stock_booking", "delivery_scheduling", "notification"]


def placing(shop: Shop):
    client = OrkesClients(Configuration(server_api_url=f"{shop.url}/api", log_level="WARNING")).get_workflow_client()

    def order(card: str) -> str:
        order_id = f"order-{uuid.uuid4()}"
        order = {
            "order_id": order_id,
            "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
            "lines": [{"sku": "lamp", "quantity": 2}],
            "payment": {"method": "card", "token": f"tok_{card}"},
            "ship_to": {"street": "Main St 1", "city": "Bonn", "postal_code": "53111", "country": "DE"},
            "currency": "EUR",
        }
        request = StartWorkflowRequest(name="order_fulfilment", version=1, input=order, correlation_id=order_id)
        return client.start_workflow(request)

    return lambda cards: [order(card) for card in cards]


def test_five_services_complete_every_order_once_though_one_and_the_server_are_killed(shop):
    shop.prepare()
    shop.hurry()
    workers = {service: shop.service(service) for service in SERVICES}
    payments = "payment_processing"
    scenario.play(shop, workers[payments], lambda: shop.service(payments), placing(shop))
    # The gateway charges and does not answer.
    placed = json.loads(shop.run(sys.executable, PYTHON / "place_order.py", "--card", "timeout_after_charge", "--json"))
    assert (placed["status"], placed["order_status"]) == ("COMPLETED", "COMPLETED")


def test_tasks_in_python_and_in_rust_complete_an_order_together(shop):
    shop.prepare()
    shop.hurry()
    for service in ["order_acknowledgement", "delivery_scheduling", "notification"]:
        shop.service(service)
    rust = ["payment_processing", "stock_booking", "stock_release", "payment_refund"]

    def worker():
        started = shop.order_worker("rust-worker", *rust)
        started.says("runs")
        return started

    runs = scenario.play(shop, worker(), worker, placing(shop), remote=False)
    workers = {task["workerId"] for run in runs.values() for task in run["tasks"]}
    assert len(workers) > 2, workers
