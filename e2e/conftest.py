"""The database server of all tests, and a shop for each."""

import os
import re
import shutil
import signal
import tempfile
import zlib
from pathlib import Path

import pytest

import harness
from harness import BINARIES, HOME, Program, Shop


@pytest.fixture(scope="session")
def database_url():
    """A server of its own with fsync on. Started by root it runs as another user, who must get through."""
    folder = Path(tempfile.mkdtemp(prefix="oms-e2e-"))
    folder.chmod(0o711)
    environment = {"XDG_DATA_HOME": str(folder), "XDG_CACHE_HOME": str(HOME / "cache")}
    server = Program(folder / "database.log", [BINARIES / "examples/database"], environment)
    url = server.says("export DATABASE_URL=").removeprefix("export DATABASE_URL=")
    yield url
    server.end(signal.SIGINT)
    data = list(folder.glob("oms-engine/*/data"))
    harness.wait_for("the database server's end", lambda: not [d for d in data if (d / "postmaster.pid").exists()])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shop(database_url, request):
    whole = re.sub(r"\W+", "_", f"{request.module.__name__}_{request.node.name.removeprefix('test_')}")
    # PostgreSQL cuts long names, and cut ones can be the same.
    name = f"{whole[:40]}_{zlib.crc32(whole.encode()):08x}"
    folder = HOME / "logs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shop = Shop(database_url, folder, f"{name}_{os.getpid()}", getattr(request, "param", []))
    yield shop
    shop.close()
    if getattr(request.node, "failed", False):
        print(shop.tails())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed
