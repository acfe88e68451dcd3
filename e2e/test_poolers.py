"""PgBouncer between the engine and PostgreSQL: one that keeps sessions works, another one is refused."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from harness import BINARIES, DEADLINE_SECONDS, PYTHON, Program, free_port, wait_for

TASKS = ["order_acknowledgement", "payment_processing", "stock_booking", "delivery_scheduling", "notification"]


def pooler(shop, mode: str, in_turn: int = 0) -> tuple:
    """A PgBouncer before the shop's database. Out: itself, and the URL to take."""
    # Debian keeps it where only root looks.
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary, "pgbouncer is not installed: apt-get install pgbouncer"
    info = shop.db.info
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="oms-pooler-"))
    folder.chmod(0o755)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""[databases]
{info.dbname} = host={info.host} port={info.port} user={info.user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
server_round_robin = {in_turn}
"""
    )
    command = [binary, settings]
    if os.geteuid() == 0:
        # It does not run as root, and must reach the server's socket.
        socket = Path(info.host) / f".s.PGSQL.{info.port}"
        owner = socket.stat().st_uid if socket.exists() else pwd.getpwnam("nobody").pw_uid
        command = [binary, "-u", pwd.getpwuid(owner).pw_name, settings]
    program = shop.start(f"pooler-{mode}-{in_turn}", *command)
    url = f"postgres://{info.user}@127.0.0.1:{port}/{info.dbname}"

    def listens() -> bool:
        try:
            psycopg.connect(url, autocommit=True).close()
        except psycopg.OperationalError:
            assert program.process.poll() is None, program.log.read_text()
            return False
        return True

    wait_for("the pooler listens", listens)
    return program, url


def server_through(shop, name: str, url: str) -> Program:
    command = [BINARIES / "oms", "server", "--port", free_port()]
    program = Program(shop.folder / f"{name}.log", command, {**shop.environment, "DATABASE_URL": url})
    shop.programs.append(program)
    return program


def test_a_pooler_by_transactions_is_refused_with_what_to_change(shop):
    # It gives out the session that was used last, or one after the other.
    for in_turn in (0, 1):
        _, url = pooler(shop, "transaction", in_turn)
        # Sessions that others have left are at hand.
        others = [psycopg.connect(url, autocommit=False) for _ in range(5)]
        for other in others:
            other.execute("SELECT 1")
        for other in others:
            other.close()
        for n in range(3):
            server = server_through(shop, f"refused-{in_turn}-{n}", url)
            assert server.process.wait(timeout=DEADLINE_SECONDS) != 0
            said = server.log.read_text()
            assert "pool_mode = session" in said and "share sessions" in said, said
        command = [BINARIES / "oms", "--json", "doctor", "--database-url", url]
        doctor = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        assert doctor.returncode == 7, doctor
        assert [found["kind"] for found in json.loads(doctor.stdout)] == ["pooler"], doctor
    assert shop.count("SELECT count(*) FROM oms_engine.sessions WHERE dead_at IS NULL") == 1, "the shop's own"


def test_engines_behind_a_pooler_that_keeps_sessions_share_the_work(shop):
    shop.prepare()
    shop.server.end(signal.SIGKILL)
    _, shop.environment["DATABASE_URL"] = pooler(shop, "session")
    shop.server = shop.start_server()
    for n in range(2):
        shop.order_worker(f"orders-{n}", *TASKS)
    for _ in range(5):
        placed = json.loads(shop.run(sys.executable, PYTHON / "place_order.py", "--json"))
        assert placed["order_status"] == "COMPLETED", placed
    shop.wait_for_orders("COMPLETED", 5)
    assert shop.count("SELECT count(*) FROM oms_engine.sessions WHERE dead_at IS NULL") == 3
