"""Makes the order tables, registers the definitions and puts lamps on the shelf. Changes nothing that is
there, but for 100 more lamps.

Usage: prepare.py     with DATABASE_URL and CONDUCTOR_SERVER_URL as the services have them
"""

import json
from pathlib import Path

import psycopg
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.api_client import ApiClient

import shop

TOP = Path(__file__).parents[2]
TABLES = TOP / "migrations/oms"
DEFINITIONS = TOP / "oms-tasks/definitions"


def make_tables(db: psycopg.Connection) -> None:
    """As `oms_tasks::migrate` does it, so that either may come first."""
    lock = "hashtextextended('oms-tasks migration of ' || coalesce(current_schema(), ''), 0)"
    db.execute(f"SELECT pg_advisory_xact_lock({lock})")
    db.execute(
        """CREATE TABLE IF NOT EXISTS oms_tasks_migrations (
               version int PRIMARY KEY,
               name text NOT NULL,
               applied_at timestamptz NOT NULL DEFAULT statement_timestamp())"""
    )
    [there] = db.execute("SELECT coalesce(max(version), 0) FROM oms_tasks_migrations").fetchone()
    for file in sorted(TABLES.glob("*.sql")):
        version, name = file.stem.split("_", 1)
        if int(version) > there:
            db.execute(file.read_text())
            db.execute("INSERT INTO oms_tasks_migrations (version, name) VALUES (%s, %s)", [int(version), name])


def stock(db: psycopg.Connection, sku: str, pieces: int) -> None:
    db.execute(
        """INSERT INTO inventory (sku, name, price_minor, currency) VALUES (%s, %s, 2499, 'EUR')
           ON CONFLICT (sku) DO NOTHING""",
        [sku, f"Article {sku}"],
    )
    db.execute(
        """INSERT INTO warehouse_stock AS s (sku, on_hand) VALUES (%s, %s)
           ON CONFLICT (sku, warehouse) DO UPDATE SET on_hand = s.on_hand + excluded.on_hand""",
        [sku, pieces],
    )


def register() -> None:
    """The same files as the Rust program has. The SDK sends their JSON as it is."""
    client = ApiClient(Configuration())

    def send(method: str, path: str, body: object) -> None:
        client.call_api(path, method, body=body, header_params={"Content-Type": "application/json"})

    def read(name: str) -> object:
        return json.loads((DEFINITIONS / f"{name}.json").read_text())

    send("POST", "/metadata/taskdefs", read("task_definitions"))
    send("PUT", "/metadata/workflow", [read("order_unwinding"), read("order_fulfilment")])


if __name__ == "__main__":
    with psycopg.connect(shop.database_url()) as db:
        make_tables(db)
        stock(db, "lamp", 100)
        stock(db, "sold-out", 0)
    register()
    print("tables, definitions and lamps are there")
