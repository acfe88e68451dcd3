"""The notification service: completes an order, and delivers what all services tell the customer."""

import threading
import time

from conductor.client.worker.worker_task import worker_task

import shop

PAUSE_SECONDS = 0.25


@worker_task(task_definition_name="notification", thread_count=shop.THREADS)
def notification(order_id: str) -> dict:
    """Completes a scheduled order and writes the last of its notifications."""
    with shop.transaction() as db:
        order = shop.lock_open(db, order_id)
        shop.refuse_early(order, "notification", ("SCHEDULED", "COMPLETED"))
        if order["status"] == "SCHEDULED":
            db.execute(
                "UPDATE orders SET completed_at = statement_timestamp() WHERE order_id = %s", [order_id]
            )
            shop.advance(db, order, "COMPLETED", f"Your order {order_id} is complete and on its way.")
    return {"status": "COMPLETED"}


def deliver_all() -> None:
    """Delivers the outbox, at least once each. Here the mail is this program's output."""
    while True:
        try:
            while deliver_some():
                pass
        except Exception as error:
            print(f"notifications wait: {error}", flush=True)
        time.sleep(PAUSE_SECONDS)


def deliver_some() -> int:
    with shop.transaction() as db:
        # Other senders pass by what this one has.
        due = db.execute(
            """SELECT notification_id, recipient, body FROM notifications
               WHERE status = 'PENDING' AND next_attempt_at <= statement_timestamp()
               ORDER BY notification_id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED"""
        ).fetchall()
        for row in due:
            print(f"to {row['recipient']}: {row['body']}", flush=True)
        db.execute(
            """UPDATE notifications
               SET status = 'SENT', sent_at = statement_timestamp(), attempts = attempts + 1
               WHERE notification_id = ANY (%s)""",
            [[row["notification_id"] for row in due]],
        )
    return len(due)


if __name__ == "__main__":
    threading.Thread(target=deliver_all, daemon=True).start()
    shop.serve()
