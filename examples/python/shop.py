"""What the five services share: the order tables, the gateway and the carrier, and how a service runs."""

import json
import os
import signal
import socket
import sys
from contextlib import contextmanager
from functools import cache
from typing import Iterator, Optional

import psycopg
from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.context.task_context import get_task_context
from conductor.client.worker.exception import NonRetryableException
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

# Tasks of one kind that a service works on at once.
THREADS = int(os.environ.get("SHOP_THREADS", "8"))
DEADLINE_SECONDS = 2

Refused = NonRetryableException
"""Trying again cannot help. Any other exception fails the attempt, and the task's definition says what follows."""


def database_url() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit("set DATABASE_URL to the database of the order tables")
    return url


@cache
def pool() -> ConnectionPool:
    """Of this process: the SDK starts one for each kind of task."""
    rows = {"row_factory": dict_row}
    return ConnectionPool(database_url(), min_size=1, max_size=THREADS, timeout=10, open=True, kwargs=rows)


@contextmanager
def transaction() -> Iterator[psycopg.Connection]:
    """Commits at its end, or nothing of it happens."""
    try:
        with pool().connection() as db:
            yield db
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
        # The server's word that the statement or its values are wrong.
        raise Refused(str(error)) from error


def lock(db: psycopg.Connection, order_id: str) -> Optional[dict]:
    """The order, locked until the transaction ends: whoever writes for an order does this first."""
    return db.execute("SELECT * FROM orders WHERE order_id = %s FOR NO KEY UPDATE", [order_id]).fetchone()


def lock_open(db: psycopg.Connection, order_id: str) -> dict:
    """An order for which something may still be done."""
    order = lock(db, order_id)
    if order is None:
        raise Refused(f"order {order_id} does not exist")
    refuse_closed(order)
    return order


def refuse_closed(order: dict) -> None:
    if order["status"] in ("UNWINDING", "FAILED"):
        raise Refused(f"order {order['order_id']} is {order['status']}; nothing is done for it any more")


def refuse_early(order: dict, task: str, turns: tuple[str, ...]) -> None:
    """Refuses an order that is neither at a task's turn nor past it."""
    if order["status"] not in turns:
        raise Refused(f"order {order['order_id']} is {order['status']}, which is not the turn of {task}")


def lock_failed(db: psycopg.Connection, order_id: object, workflow_id: str) -> Optional[dict]:
    """A failed run's order; none where that run left none, so that there is nothing to undo."""
    order = lock(db, order_id) if isinstance(order_id, str) else None
    if order is None or str(order["workflow_id"]) != workflow_id:
        return None
    if order["status"] not in ("UNWINDING", "FAILED"):
        raise Refused(f"order {order_id} is {order['status']}, which is not the turn of its unwinding")
    return order


def advance(db: psycopg.Connection, order: dict, status: str, text: str) -> None:
    """The order's next status, and the notification that tells of it."""
    db.execute(
        "UPDATE orders SET status = %s, updated_at = statement_timestamp() WHERE order_id = %s",
        [status, order["order_id"]],
    )
    notify(db, order["order_id"], status, order["customer_email"], text)


def notify(db: psycopg.Connection, order_id: str, stage: str, recipient: str, text: str) -> None:
    """Goes into the outbox, which the notification service delivers."""
    db.execute(
        "INSERT INTO notifications (order_id, stage, recipient, body) VALUES (%s, %s, %s, %s)",
        [order_id, stage, recipient, text],
    )


def step_key() -> str:
    """Names the step, not the attempt, so that all its attempts ask the outside world for one thing."""
    context = get_task_context()
    return f"{context.get_workflow_instance_id()}:{context.task.reference_task_name}"


def ask(request: dict) -> dict:
    """Asks the gateway or the carrier. The same key gets the same answer, however often it is asked."""
    host, port = os.environ.get("SANDBOX", "127.0.0.1:7070").rsplit(":", 1)
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        line = connection.makefile().readline()
    if not line:
        raise ConnectionError("the sandbox hung up")
    answer = json.loads(line)
    if "Ok" in answer:
        return answer["Ok"]
    kind, detail = answer["Err"]["kind"], answer["Err"]["detail"]
    if kind == "unavailable":
        raise ConnectionError(detail)
    raise Refused(f"{kind}: {detail}")


def serve() -> None:
    """Runs the tasks of the program that calls this, until SIGTERM or Ctrl-C."""
    database_url()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    level = os.environ.get("CONDUCTOR_LOG_LEVEL", "WARNING")
    with TaskHandler(workers=[], configuration=Configuration(log_level=level)) as handler:
        handler.start_processes()
        handler.join_processes()
