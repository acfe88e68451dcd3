"""The programs of docs/starting-from-sql.md, as they stand there."""

import re
import textwrap
import uuid

import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from harness import HOME, TOP

GUIDE = TOP / "docs/starting-from-sql.md"
SQLX = TOP / "e2e/rust/src/bin/sqlx_start.rs"


def shown(heading: str) -> str:
    """The first block of code below a heading."""
    section = GUIDE.read_text().split(f"\n## {heading}\n", 1)[1]
    return re.search(r"```\w+(?:,\w+)*\n(.*?)```", section, re.DOTALL)[1]


def by_psycopg(shop) -> str:
    names = {"psycopg": psycopg, "Jsonb": Jsonb, "url": shop.database_url}
    exec(shown("psycopg"), names)
    return str(names["run"])


def by_sqlx(shop) -> str:
    assert textwrap.indent(shown("sqlx"), "    ") in SQLX.read_text(), "the guide shows another program"
    return shop.run(HOME / "rust/debug/sqlx_start").strip()


def by_trigger(shop) -> str:
    shop.db.execute(shown("From a trigger"))
    shop.db.execute("INSERT INTO orders (id) VALUES (7)")
    row = shop.db.execute("SELECT id FROM oms_engine.workflows WHERE idempotency_key = 'order-7'").fetchone()
    return str(row["id"])


@pytest.mark.parametrize("start", [by_psycopg, by_sqlx, by_trigger])
def test_a_run_that_was_started_in_sql_comes_with_its_row_and_ends(shop, start):
    definition = {
        "name": "place_order",
        "schemaVersion": 2,
        "outputParameters": {"order": "${workflow.input.order}"},
        "tasks": [{"name": "note", "taskReferenceName": "note", "type": "SET_VARIABLE", "inputParameters": {"seen": True}}],
    }
    requests.put(f"{shop.url}/api/metadata/workflow", json=[definition], timeout=30).raise_for_status()
    shop.db.execute("CREATE TABLE orders (id bigint PRIMARY KEY)")
    run = uuid.UUID(start(shop))
    assert shop.count("SELECT count(*) FROM orders WHERE id = 7") == 1
    ended = shop.wait_for_runs([str(run)])[str(run)]
    assert (ended["status"], ended["output"]) == ("COMPLETED", {"order": 7})
