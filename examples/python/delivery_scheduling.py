"""The delivery service: has an order fetched once, and calls off a failed one."""

from datetime import date

from conductor.client.worker.worker_task import worker_task

import shop
from shop import Refused


@worker_task(task_definition_name="delivery_scheduling", thread_count=shop.THREADS)
def delivery_scheduling(order_id: str) -> dict:
    """Writes the booking's key, calls the carrier with no transaction open, writes what came of it."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        shop.refuse_early(order, "delivery_scheduling", ("BOOKED", "SCHEDULED", "COMPLETED"))
        db.execute(
            """INSERT INTO delivery_schedule (order_id, idempotency_key) VALUES (%s, %s)
               ON CONFLICT (order_id, warehouse) DO NOTHING""",
            [order_id, shop.step_key()],
        )
        intended = db.execute(
            """SELECT d.*, (SELECT sum(quantity)::bigint FROM order_items i WHERE i.order_id = d.order_id)
                   AS pieces
               FROM delivery_schedule d WHERE order_id = %s""",
            [order_id],
        ).fetchone()
    if intended["status"] == "REFUSED":
        raise refused(order_id, intended["refusal_code"])
    if intended["status"] == "SCHEDULED":
        return {
            "tracking_number": intended["tracking_number"],
            "delivery_date": intended["delivery_date"].isoformat(),
        }
    window = {"from": order["deliver_from"], "to": order["deliver_to"]}
    asked = {"window": {key: day.isoformat() for key, day in window.items()}} if window["to"] else {}
    answer = shop.ask({
        "op": "book",
        "key": intended["idempotency_key"],
        "order_id": order_id,
        "recipient": order["customer_name"],
        "ship_to": order["ship_to"],
        "pieces": intended["pieces"],
        **asked,
    })
    if answer["answer"] == "refused":
        settle(order_id, "status = 'REFUSED', refusal_code = %s", [answer["code"]])
        raise refused(order_id, answer["code"])
    if asked and not window["from"] <= date.fromisoformat(answer["delivery_date"]) <= window["to"]:
        # The row stays open, so that the unwinding calls this booking off.
        raise Refused(
            f"order {order_id}: the carrier would deliver on {answer['delivery_date']}, "
            f"not from {window['from']} to {window['to']}"
        )
    booked = {key: answer[key] for key in ("tracking_number", "delivery_date")}
    scheduled = """status = 'SCHEDULED', tracking_number = %s, delivery_date = %s,
                   scheduled_at = statement_timestamp()"""
    settle(order_id, scheduled, list(booked.values()), f"The delivery of your order {order_id} is scheduled.")
    return booked


def settle(order_id: str, change: str, values: list, text: str = "") -> None:
    """Writes what the carrier said, unless another attempt has. The booking of an order that was closed
    meanwhile is left to its unwinding."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        if order["status"] != "BOOKED":
            return
        sql = f"UPDATE delivery_schedule SET {change} WHERE order_id = %s AND status = 'PENDING'"
        if db.execute(sql, [*values, order_id]).rowcount and text:
            shop.advance(db, order, "SCHEDULED", text)


def refused(order_id: str, code: str) -> Refused:
    return Refused(f"order {order_id}: delivery refused: {code}")


@worker_task(task_definition_name="delivery_cancellation", thread_count=shop.THREADS)
def delivery_cancellation(order_id: object, workflow_id: str) -> dict:
    """Cancels the deliveries, if some were asked for: a closed order gets no new ones."""
    with shop.transaction() as db:
        if shop.lock_failed(db, order_id, workflow_id) is None:
            return {"cancelled": False}
        deliveries = db.execute(
            "SELECT * FROM delivery_schedule WHERE order_id = %s AND status <> 'REFUSED' ORDER BY warehouse",
            [order_id],
        ).fetchall()
    for delivery in deliveries:
        if delivery["status"] == "CANCELLED":
            continue
        shop.ask({
            "op": "cancel",
            "key": f"{shop.step_key()}/{delivery['warehouse']}",
            "booking_key": delivery["idempotency_key"],
            "order_id": order_id,
        })
        with shop.transaction() as db:
            shop.lock(db, order_id)
            db.execute(
                """UPDATE delivery_schedule SET status = 'CANCELLED', cancelled_at = statement_timestamp()
                   WHERE order_id = %s AND warehouse = %s AND status IN ('PENDING', 'SCHEDULED')""",
                [order_id, delivery["warehouse"]],
            )
    return {"cancelled": bool(deliveries)}


if __name__ == "__main__":
    shop.serve()
