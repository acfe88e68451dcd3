"""Conductor's official SDK for Rust. What undoes an order runs in Rust too, but on the engine itself."""

import scenario
from harness import HOME
from test_javascript_sdk import UNDOING


def test_five_services_complete_every_order_once_though_they_and_the_server_are_killed(shop):
    program = HOME / "rust/debug/sdk-orders"
    shop.prepare()
    shop.run(program, "register")
    shop.hurry()
    shop.order_worker("undoing", *UNDOING)

    def services():
        started = shop.start("rust", program, "work")
        started.says("five services run")
        return started

    runs = scenario.play(shop, services(), services, lambda cards: shop.run(program, "place", *cards).split())
    scenario.check_shown(runs, shop.run(program, "show", *runs))
