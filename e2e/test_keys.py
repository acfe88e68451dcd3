"""A server that asks for keys: the official SDKs are given them as they are for Conductor."""

import json
import sys

import requests

from harness import BINARIES, HOME, PYTHON


def test_sdks_come_with_keys_and_nobody_without(shop):
    def key(role: str) -> dict:
        made = shop.run(BINARIES / "oms", "key", "create", "--name", role, "--role", role, "--json")
        made = json.loads(made)
        return {"CONDUCTOR_AUTH_KEY": made["keyId"], "CONDUCTOR_AUTH_SECRET": made["keySecret"]}

    admin, work = key("admin"), key("work")
    shop.replace_server()
    assert requests.get(f"{shop.url}/api/metadata/taskdefs", timeout=30).status_code == 401
    shop.environment |= admin
    shop.prepare()
    shop.environment |= work
    javascript, rust = HOME / "javascript", HOME / "rust/debug/sdk-orders"
    shop.start("javascript", "node", "orders.mjs", "work", cwd=javascript).says("five services run")
    ids = shop.run(rust, "place", "visa", "visa").split()
    placed = json.loads(shop.run(sys.executable, PYTHON / "place_order.py", "--json"))
    assert placed["order_status"] == "COMPLETED"
    shop.wait_for_orders("COMPLETED", 3)
    shown = shop.run("node", "orders.mjs", "show", *ids, cwd=javascript)
    assert shown == shop.run(rust, "show", *ids)
