"""A database, a server and a sandbox for one test, and the programs that run against them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Optional

import psycopg
import requests
from psycopg.rows import dict_row

TOP = Path(__file__).parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
BINARIES = TARGET / "debug"
HOME = TARGET / "e2e"
PYTHON = TOP / "examples/python"
STAGES = ["ACKNOWLEDGED", "PAID", "BOOKED", "SCHEDULED", "COMPLETED"]
ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")
DEADLINE_SECONDS = 120


def wait_for(what: str, condition: Callable[[], object], deadline: float = DEADLINE_SECONDS) -> object:
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"in vain: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A process with all that it starts, its output in a file."""

    def __init__(self, log: Path, command: list, environment: dict, cwd: Optional[Path] = None):
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **environment},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def says(self, text: str) -> str:
        """The first line that holds this text."""

        def line() -> Optional[str]:
            ended = self.process.poll() is not None
            lines = self.log.read_text().splitlines(keepends=True)
            found = next((said for said in lines if text in said and said.endswith("\n")), None)
            assert found or not ended, f"{self.log.name} ended:\n{''.join(lines)}"
            return found

        return str(wait_for(f"{self.log.name} says {text!r}", line)).strip()

    def end(self, kind: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, kind)
        self.process.wait(timeout=60)
        with suppress(ProcessLookupError):
            # What it started, if that outlives it.
            os.killpg(self.process.pid, signal.SIGKILL)


class Shop:
    """An order database with a server and a sandbox."""

    def __init__(self, database_url: str, folder: Path, name: str, server_options: list):
        self.folder, self.programs, self.server_options = folder, [], server_options
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        self.database_url = database_url.rsplit("/", 1)[0] + f"/{name}"
        self.db = psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ledger = folder / "ledger.jsonl"
        self.environment = {
            "DATABASE_URL": self.database_url,
            "CONDUCTOR_SERVER_URL": f"{self.url}/api",
            "TOP": str(TOP),
        }
        sandbox = self.start("sandbox", BINARIES / "oms-sandbox", "--ledger", self.ledger)
        self.environment["SANDBOX"] = sandbox.says("127.0.0.1:")
        self.server = self.start_server()

    def start(self, name: str, *command: object, cwd: Optional[Path] = None) -> Program:
        program = Program(self.folder / f"{name}.log", list(command), self.environment, cwd)
        self.programs.append(program)
        return program

    def start_server(self) -> Program:
        command = [BINARIES / "oms", "server", "--port", self.port, *self.server_options]
        server = self.start(f"server-{len(self.programs)}", *command)
        server.says("listens on")
        return server

    def replace_server(self) -> None:
        self.server.end(signal.SIGKILL)
        self.server = self.start_server()

    def run(self, *command: object, cwd: Optional[Path] = None) -> str:
        """Runs a program to its end. Out: what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **self.environment},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def prepare(self) -> None:
        """Tables, definitions and lamps."""
        self.run(sys.executable, PYTHON / "prepare.py")
        self.restock(1_000)

    def restock(self, pieces: int) -> None:
        self.db.execute("UPDATE warehouse_stock SET on_hand = on_hand + %s WHERE sku = 'lamp'", [pieces])

    def hurry(self) -> None:
        """A killed worker's tasks come back within seconds."""
        for definition in self.get("/metadata/taskdefs"):
            definition["responseTimeoutSeconds"] = 5
            answer = requests.put(f"{self.url}/api/metadata/taskdefs", json=definition, timeout=30)
            assert answer.status_code == 200, answer.text

    def service(self, name: str) -> Program:
        """One of the five in Python."""
        return self.start(name, sys.executable, PYTHON / f"{name}.py")

    def order_worker(self, name: str, *tasks: str) -> Program:
        """Tasks in Rust, on the engine itself."""
        chosen = [part for task in tasks for part in ("--task", task)]
        return self.start(name, BINARIES / "examples/order_worker", *chosen)

    def get(self, path: str) -> object:
        answer = requests.get(f"{self.url}/api{path}", timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def count(self, sql: str, *params: object) -> int:
        return next(iter(self.db.execute(sql, params).fetchone().values()))

    def wait_for_orders(self, status: str, count: int) -> None:
        sql = "SELECT count(*) FROM orders WHERE status = %s"
        wait_for(f"{count} orders {status}", lambda: self.count(sql, status) >= count)

    def wait_for_runs(self, ids: list) -> dict:
        """The runs by id when all have ended, with their failure workflows."""
        runs = {}
        for id in ids:
            run = wait_for(f"the end of {id}", lambda: self.ended(id))
            runs[id] = run
            if unwinding := run["output"].get("conductor.failure_workflow"):
                wait_for(f"the end of {unwinding}", lambda: self.ended(unwinding))
        return runs

    def ended(self, id: str) -> Optional[dict]:
        run = self.get(f"/workflow/{id}?includeTasks=true")
        return run if run["status"] in ENDED else None

    def check(self, runs: dict, declined: int) -> None:
        """Every order was completed exactly once, but for the declined ones: the tables say so, and the ledger
        of what gateway and carrier did."""
        good = [run for run in runs.values() if run["status"] == "COMPLETED"]
        bad = [run for run in runs.values() if run["status"] == "FAILED"]
        ended = [(run["status"], run.get("reasonForIncompletion")) for run in runs.values()]
        assert (len(good), len(bad)) == (len(runs) - declined, declined), ended
        for run in good:
            done = [task["referenceTaskName"] for task in run["tasks"] if task["status"] == "COMPLETED"]
            assert len(done) == len(set(done)) == 5, done
        orders = {row["order_id"]: row["status"] for row in self.db.execute("SELECT * FROM orders")}
        assert orders == {
            **{run["input"]["order_id"]: "COMPLETED" for run in good},
            **{run["input"]["order_id"]: "FAILED" for run in bad},
        }
        ids = [run["input"]["order_id"] for run in good]
        for table, status in [("payments", "CAPTURED"), ("stock_bookings", "BOOKED"), ("delivery_schedule", "SCHEDULED")]:
            rows = self.db.execute(f"SELECT order_id FROM {table} WHERE status = %s", [status])
            assert sorted(row["order_id"] for row in rows) == sorted(ids), table
        pieces = sum(run["input"]["lines"][0]["quantity"] for run in good)
        assert self.count("SELECT booked FROM warehouse_stock WHERE sku = 'lamp'") == pieces
        for id in ids:
            told = self.db.execute(
                "SELECT stage FROM notifications WHERE order_id = %s ORDER BY notification_id", [id]
            )
            assert [row["stage"] for row in told] == STAGES, id
        self.check_ledger(ids)
        assert self.db.execute("SELECT * FROM oms_engine.stuck_workflows").fetchall() == []

    def check_ledger(self, good: list) -> None:
        entries = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        for kind in ("charged", "booked"):
            made = [entry["order_id"] for entry in entries if entry["entry"] == kind]
            assert sorted(made) == sorted(good), f"{kind}: {made}"
        assert not [entry for entry in entries if entry["entry"] in ("refunded", "cancelled")]

    def close(self) -> None:
        for program in reversed(self.programs):
            program.end(signal.SIGTERM)
        self.db.close()

    def tails(self) -> str:
        """The ends of all logs."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-40:]) for log in logs)
