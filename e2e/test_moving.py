"""docs/moving-from-conductor.md, followed to the letter. Another `oms server` plays the old Conductor."""

import os
import re
import sys
from pathlib import Path

import pytest
import requests

from harness import BINARIES, TOP, free_port
from test_python_sdk import placing

PAGE = TOP / "docs/moving-from-conductor.md"


@pytest.mark.parametrize("shop", [["--schema", "old_conductor"]], indirect=True)
def test_the_guide_leads_from_one_server_to_the_other(shop):
    shop.prepare()
    shop.hurry()
    # What is under way when the new server comes.
    old_runs = placing(shop)(["visa"] * 3)
    shop.start("old-workers", sys.executable, TOP / "examples/python/workers.py")
    first, *commands = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names = [line.split("=")[0] for line in first.splitlines()]
    assert names == ["export OLD", "export NEW", "export DATABASE_URL"]
    assert len(commands) >= 9
    new = f"http://127.0.0.1:{free_port()}"
    values = f"export OLD={shop.url} NEW={new} DATABASE_URL={shop.database_url}"
    script = "\n".join(["set -euo pipefail", values, *commands, "echo; echo the end of the page"])
    shop.environment["PATH"] = f"{BINARIES}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    shop.start("page", "bash", "-c", script, cwd=TOP).says("the end of the page")
    assert {run["status"] for run in shop.wait_for_runs(old_runs).values()} == {"COMPLETED"}
    for path in ["/metadata/taskdefs", "/metadata/workflow"]:
        theirs, ours = shop.get(path), requests.get(f"{new}/api{path}", timeout=30).json()
        assert sorted(map(str, ours)) == sorted(map(str, theirs)), path
        assert ours, path
    statuses = "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status"
    assert [tuple(row.values()) for row in shop.db.execute(statuses)] == [("COMPLETED", 4), ("FAILED", 1)]
