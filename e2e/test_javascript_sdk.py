"""The official SDK for JavaScript. What undoes an order runs in Rust."""

import scenario
from harness import HOME

UNDOING = ["order_closure", "delivery_cancellation", "stock_release", "payment_refund", "order_failure"]


def test_five_services_complete_every_order_once_though_they_and_the_server_are_killed(shop):
    folder = HOME / "javascript"
    shop.prepare()
    shop.run("node", "orders.mjs", "register", cwd=folder)
    shop.hurry()
    shop.order_worker("undoing", *UNDOING)

    def services(name="javascript"):
        started = shop.start(name, "node", "orders.mjs", "work", cwd=folder)
        started.says("five services run")
        return started

    def place(cards):
        return shop.run("node", "orders.mjs", "place", *cards, cwd=folder).split()

    runs = scenario.play(shop, services(), services, place)
    scenario.check_shown(runs, shop.run("node", "orders.mjs", "show", *runs, cwd=folder))
