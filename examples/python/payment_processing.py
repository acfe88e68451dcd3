"""The payment service: charges an order once, and gives the money of a failed one back."""

from conductor.client.worker.worker_task import worker_task

import shop
from shop import Refused


@worker_task(task_definition_name="payment_processing", thread_count=shop.THREADS)
def payment_processing(order_id: str, payment: dict) -> dict:
    """Writes the charge's key, calls the gateway with no transaction open, writes what came of it."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        db.execute(
            """INSERT INTO payments (order_id, idempotency_key, method, amount_minor, currency)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT (order_id) DO NOTHING""",
            [order_id, shop.step_key(), payment["method"], order["total_minor"], order["currency"]],
        )
        intended = db.execute("SELECT * FROM payments WHERE order_id = %s", [order_id]).fetchone()
    if intended["status"] == "DECLINED":
        raise declined(order_id, intended["decline_code"])
    charge_id = intended["charge_id"]
    if intended["status"] == "PENDING":
        answer = shop.ask({
            "op": "charge",
            "key": intended["idempotency_key"],
            "order_id": order_id,
            "amount_minor": intended["amount_minor"],
            "currency": intended["currency"],
            "method": payment["method"],
            "token": payment["token"],
        })
        if answer["answer"] == "declined":
            settle(order_id, "status = 'DECLINED', decline_code = %s", answer["code"])
            raise declined(order_id, answer["code"])
        charge_id = answer["charge_id"]
        captured = "status = 'CAPTURED', captured_at = statement_timestamp(), charge_id = %s"
        settle(order_id, captured, charge_id, f"Your payment for order {order_id} has arrived.")
    return {
        "charge_id": charge_id,
        "amount_minor": intended["amount_minor"],
        "currency": intended["currency"],
    }


def settle(order_id: str, change: str, value: str, text: str = "") -> None:
    """Writes what the gateway said, unless another attempt has. The charge of an order that was closed
    meanwhile is left to its unwinding."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        if order["status"] != "ACKNOWLEDGED":
            return
        sql = f"UPDATE payments SET {change} WHERE order_id = %s AND status = 'PENDING'"
        if db.execute(sql, [value, order_id]).rowcount and text:
            shop.advance(db, order, "PAID", text)


def declined(order_id: str, code: str) -> Refused:
    return Refused(f"order {order_id}: payment declined: {code}")


@worker_task(task_definition_name="payment_refund", thread_count=shop.THREADS)
def payment_refund(order_id: object, workflow_id: str) -> dict:
    """Refunds the charge by its key, or closes that key to a charge that is still on its way."""
    nothing = {"refunded_minor": 0, "currency": None, "refund_id": None}
    with shop.transaction() as db:
        if shop.lock_failed(db, order_id, workflow_id) is None:
            return nothing
        db.execute(
            """UPDATE payments SET refund_key = %s
               WHERE order_id = %s AND refund_key IS NULL AND status IN ('PENDING', 'CAPTURED')""",
            [shop.step_key(), order_id],
        )
        payment = db.execute("SELECT * FROM payments WHERE order_id = %s", [order_id]).fetchone()
    if payment is None or payment["status"] not in ("PENDING", "CAPTURED", "REFUNDED"):
        return nothing
    refund_id = payment["refund_id"]
    if payment["status"] != "REFUNDED":
        answer = shop.ask({
            "op": "refund",
            "key": payment["refund_key"],
            "charge_key": payment["idempotency_key"],
            "order_id": order_id,
            "amount_minor": payment["amount_minor"],
            "currency": payment["currency"],
        })
        refund_id = answer.get("refund_id")
        with shop.transaction() as db:
            shop.lock(db, order_id)
            record(db, order_id, refund_id, answer.get("charge_id"))
    if refund_id is None:
        return nothing
    return {
        "refunded_minor": payment["amount_minor"],
        "currency": payment["currency"],
        "refund_id": refund_id,
    }


def record(db, order_id: str, refund_id: str | None, charge_id: str | None) -> None:
    if refund_id is None:
        change, values = "status = 'VOIDED'", []
    else:
        change = """status = 'REFUNDED', refund_id = %s, charge_id = coalesce(charge_id, %s),
                    refunded_minor = amount_minor, refunded_at = statement_timestamp()"""
        values = [refund_id, charge_id]
    sql = f"UPDATE payments SET {change} WHERE order_id = %s AND status IN ('PENDING', 'CAPTURED')"
    db.execute(sql, [*values, order_id])


if __name__ == "__main__":
    shop.serve()
