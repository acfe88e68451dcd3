"""The order service: takes an order in, and closes one that fails."""

import json
from datetime import date, datetime, timezone
from pathlib import Path
from conductor.client.context.task_context import get_task_context
from conductor.client.worker.worker_task import worker_task
from jsonschema import Draft202012Validator
from psycopg.types.json import Jsonb

import shop
from shop import Refused

SCHEMA = json.loads((Path(__file__).parent / "order.schema.json").read_text())
ORDER, CUSTOMER = Draft202012Validator(SCHEMA), Draft202012Validator(SCHEMA["properties"]["customer"])
TOTAL_MAX = 2**53 - 1


@worker_task(task_definition_name="order_acknowledgement", thread_count=shop.THREADS)
def order_acknowledgement(order: dict) -> dict:
    """Checks the order, prices it from the inventory and writes it."""
    check(order)
    order_id, workflow_id = order["order_id"], get_task_context().get_workflow_instance_id()
    with shop.transaction() as db:
        # Another attempt may write the order after we have looked.
        written = shop.lock(db, order_id) or write(db, order, workflow_id) or shop.lock(db, order_id)
    if str(written["workflow_id"]) != workflow_id:
        raise Refused(f"order {order_id} belongs to workflow {written['workflow_id']}; use another order id")
    shop.refuse_closed(written)
    return {key: written[key] for key in ("order_id", "total_minor", "currency")}


def check(order: object) -> None:
    faults = [f"{error.json_path}: {error.message}" for error in ORDER.iter_errors(order)]
    if not faults:
        faults = [f"{path}: blank, or with control characters" for path, text in texts(order) if bad(text)]
        faults += window_faults(order.get("delivery_window"))
    if faults:
        raise Refused("order refused: " + "; ".join(faults))


def window_faults(window: object) -> list[str]:
    if window is None:
        return []
    try:
        start, end = (date.fromisoformat(window[key]) for key in ("from", "to"))
    except ValueError as error:
        return [f"$.delivery_window: {error}"]
    return [] if start <= end else ["$.delivery_window.to: use a day that is not before $.delivery_window.from"]


def texts(value: object, path: str = "$"):
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{path}[{index}]")


def bad(text: str) -> bool:
    return not text.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


def write(db, order: dict, workflow_id: str):
    """The order as it is written now; none where there is one already."""
    order_id, lines, customer = order["order_id"], order["lines"], order["customer"]
    skus = list({line["sku"] for line in lines})
    rows = db.execute("SELECT sku, price_minor, currency FROM inventory WHERE sku = ANY (%s)", [skus])
    shelves = {row["sku"]: row for row in rows}
    if unknown := sorted(set(skus) - shelves.keys()):
        raise Refused(f"order {order_id}: unknown sku {', '.join(unknown)}")
    if foreign := sorted(sku for sku in skus if shelves[sku]["currency"] != order["currency"]):
        raise Refused(
            f"order {order_id} in {order['currency']}: priced in another currency: {', '.join(foreign)}"
        )
    window = order.get("delivery_window") or {"from": None, "to": None}
    if window["to"] and date.fromisoformat(window["to"]) < datetime.now(timezone.utc).date():
        raise Refused(f"order refused: $.delivery_window.to: {window['to']} is past")
    items = [
        (order_id, number, line["sku"], int(line["quantity"]), shelves[line["sku"]]["price_minor"])
        for number, line in enumerate(lines, start=1)
    ]
    total = sum(quantity * price for *_, quantity, price in items)
    if total > TOTAL_MAX:
        raise Refused(f"order {order_id}: the total exceeds {TOTAL_MAX} minor units")
    written = db.execute(
        """INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to,
                               currency, total_minor, acknowledged_at, deliver_from, deliver_to)
           VALUES (%s, %s, 'ACKNOWLEDGED', %s, %s, %s, %s, %s, statement_timestamp(), %s, %s)
           ON CONFLICT (order_id) DO NOTHING
           RETURNING *""",
        [order_id, workflow_id, customer["name"], customer["email"], Jsonb(order["ship_to"]),
         order["currency"], total, window["from"], window["to"]],
    ).fetchone()
    if written:
        db.cursor().executemany(
            """INSERT INTO order_items (order_id, line_no, sku, quantity, unit_price_minor)
               VALUES (%s, %s, %s, %s, %s)""",
            items,
        )
        shop.notify(db, order_id, "ACKNOWLEDGED", customer["email"], f"We have received your order {order_id}.")
    return written


@worker_task(task_definition_name="order_closure", thread_count=shop.THREADS)
def order_closure(order_id: object, workflow_id: str, reason: object, customer: object) -> dict:
    """Closes the order to the five tasks, before anything is undone. One that was never written gets a
    row, so that it stays refused."""
    if not isinstance(order_id, str) or bad(order_id) or len(order_id) > 100:
        return {"closed": False, "status_before": None}
    # The run may have failed because of its customer.
    valid = CUSTOMER.is_valid(customer) and not any(bad(text) for _, text in texts(customer))
    name, email = (customer["name"], customer["email"]) if valid else (None, None)
    with shop.transaction() as db:
        before = shop.lock(db, order_id)
        closed = db.execute(
            """INSERT INTO orders AS o (order_id, workflow_id, status, failure_reason, customer_name,
                                        customer_email)
               VALUES (%s, %s, 'UNWINDING', %s, %s, %s)
               ON CONFLICT (order_id) DO UPDATE
               SET status = 'UNWINDING', failure_reason = excluded.failure_reason,
                   updated_at = statement_timestamp()
               WHERE o.workflow_id = excluded.workflow_id AND o.status NOT IN ('UNWINDING', 'FAILED')
               RETURNING order_id""",
            [order_id, workflow_id, text_of(reason), name, email],
        ).fetchone()
    return {"closed": closed is not None, "status_before": before["status"] if closed and before else None}


def text_of(reason: object) -> str:
    text = reason if isinstance(reason, str) else "" if reason is None else json.dumps(reason)
    text = "".join(c for c in text if not bad(f"x{c}"))[:1000]
    return text or "no reason was given"


@worker_task(task_definition_name="order_failure", thread_count=shop.THREADS)
def order_failure(order_id: object, workflow_id: str) -> dict:
    """Marks the order failed once all is undone, and tells the customer."""
    with shop.transaction() as db:
        order = shop.lock_failed(db, order_id, workflow_id)
        if order is None:
            return {"status": None}
        live = db.execute(
            """SELECT 'payment' AS what FROM payments
               WHERE order_id = %(id)s AND status IN ('PENDING', 'CAPTURED')
               UNION SELECT 'booking' FROM stock_bookings WHERE order_id = %(id)s AND status = 'BOOKED'
               UNION SELECT 'delivery' FROM delivery_schedule
               WHERE order_id = %(id)s AND status IN ('PENDING', 'SCHEDULED')
               ORDER BY what""",
            {"id": order_id},
        ).fetchall()
        if live:
            what = ", ".join(row["what"] for row in live)
            raise Refused(f"order {order_id} cannot be marked failed: not undone: {what}")
        if order["status"] == "UNWINDING":
            db.execute(
                """UPDATE orders SET status = 'FAILED', failed_at = statement_timestamp(),
                                     updated_at = statement_timestamp()
                   WHERE order_id = %s""",
                [order_id],
            )
            if order["customer_email"]:
                text = (f"We cannot fulfil your order {order_id}: {order['failure_reason']}. "
                        "Whatever you paid for it is given back.")
                shop.notify(db, order_id, "FAILED", order["customer_email"], text)
    return {"status": "FAILED"}


if __name__ == "__main__":
    shop.serve()
