"""The seed's scenario: many orders, a worker killed in the middle, then the server."""

import signal
from typing import Callable

from harness import Program, Shop, wait_for

# Some payments are asked for twice, some take long.
FIRST = ["visa"] * 6 + ["slow"] * 4 + ["fail_once"] * 2 + ["declined"]
SECOND = ["visa"] * 8 + ["slow"] * 2 + ["fail_once", "declined"]
DECLINED = 2
# For longer than the quick ones are, and not for long yet.
UNDER_WAY = """SELECT count(*) FROM payments
               WHERE status = 'PENDING' AND created_at < statement_timestamp() - interval '100 ms'"""
# By the status's number.
MISSED = "SELECT count(*) FROM oms_engine.task_history WHERE status = 5"


def play(
    shop: Shop,
    victim: Program,
    revive: Callable[[], Program],
    place: Callable[[list], list],
    remote: bool = True,
) -> dict:
    """Out: the runs. The victim is whoever works on payments, by the API or as an engine of its own."""
    ids = place(FIRST)
    wait_for("a payment that is under way", lambda: shop.count(UNDER_WAY) > 0)
    victim.end(signal.SIGKILL)
    revive()
    if remote:
        wait_for("a time-out that misses the dead", lambda: shop.count(MISSED) > 0)
    ids += place(SECOND)
    wait_for("another payment that is under way", lambda: shop.count(UNDER_WAY) > 0)
    shop.replace_server()
    runs = shop.wait_for_runs(ids)
    assert len(runs) == len(FIRST) + len(SECOND)
    shop.check(runs, DECLINED)
    lost = [task for run in runs.values() for task in run["tasks"] if task["status"] == "TIMED_OUT"]
    assert bool(lost) == remote, "only a dead client is missed by a time-out"
    return runs


def check_shown(runs: dict, shown: str) -> None:
    """What an SDK read of the runs: id, status, and how many tasks it saw completed."""
    lines = [f'{id} "{run["status"]}" {5 if run["status"] == "COMPLETED" else 1}' for id, run in runs.items()]
    assert shown.splitlines() == lines
