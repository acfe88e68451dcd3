"""The stock service: books the pieces of an order, and gives those of a failed one back."""

from conductor.client.worker.worker_task import worker_task

import shop
from shop import Refused

PIECES = "SELECT coalesce(sum(quantity), 0)::bigint AS pieces FROM {} WHERE order_id = %s"


@worker_task(task_definition_name="stock_booking", thread_count=shop.THREADS)
def stock_booking(order_id: str) -> dict:
    """Books all pieces of a paid order or none."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        shop.refuse_early(order, "stock_booking", ("PAID", "BOOKED", "SCHEDULED", "COMPLETED"))
        if order["status"] == "PAID":
            book(db, order)
        return db.execute(PIECES.format("order_items"), [order_id]).fetchone()


def book(db, order: dict) -> None:
    order_id = order["order_id"]
    wanted = db.execute(
        "SELECT sku, sum(quantity)::bigint AS quantity FROM order_items WHERE order_id = %s GROUP BY sku",
        [order_id],
    ).fetchall()
    free = lock_shelves(db, wanted)
    if short := sorted(row["sku"] for row in wanted if free.get(row["sku"], 0) < row["quantity"]):
        raise Refused(f"order {order_id}: out of stock: {', '.join(short)}")
    for row in wanted:
        db.execute(
            """UPDATE warehouse_stock SET booked = booked + %s, updated_at = statement_timestamp()
               WHERE sku = %s AND warehouse = 'main'""",
            [row["quantity"], row["sku"]],
        )
        db.execute(
            "INSERT INTO stock_bookings (order_id, sku, quantity) VALUES (%s, %s, %s)",
            [order_id, row["sku"], row["quantity"]],
        )
    shop.advance(db, order, "BOOKED", f"All articles of your order {order_id} are set aside.")


def lock_shelves(db, rows: list) -> dict:
    """Free pieces by sku in the main warehouse. In the order of their skus, so that two orders cannot wait for each other."""
    shelves = db.execute(
        """SELECT sku, on_hand - booked AS free FROM warehouse_stock
           WHERE sku = ANY (%s) AND warehouse = 'main' ORDER BY sku FOR NO KEY UPDATE""",
        [[row["sku"] for row in rows]],
    )
    return {shelf["sku"]: shelf["free"] for shelf in shelves}


@worker_task(task_definition_name="stock_release", thread_count=shop.THREADS)
def stock_release(order_id: object, workflow_id: str) -> dict:
    """Gives the booked pieces back to their shelves, once."""
    with shop.transaction() as db:
        if shop.lock_failed(db, order_id, workflow_id) is None:
            return {"pieces": 0}
        released = db.execute(
            """UPDATE stock_bookings SET status = 'RELEASED', released_at = statement_timestamp()
               WHERE order_id = %s AND status = 'BOOKED' RETURNING sku, quantity""",
            [order_id],
        ).fetchall()
        lock_shelves(db, released)
        for row in released:
            db.execute(
                """UPDATE warehouse_stock SET booked = booked - %s, updated_at = statement_timestamp()
                   WHERE sku = %s AND warehouse = 'main'""",
                [row["quantity"], row["sku"]],
            )
        return db.execute(PIECES.format("stock_bookings"), [order_id]).fetchone()


if __name__ == "__main__":
    shop.serve()
