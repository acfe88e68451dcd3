"""The API's own document, and what schemathesis makes of it: whatever is sent, no answer is a 5xx."""

import subprocess
import sys
from pathlib import Path


def test_nothing_that_fits_or_does_not_fit_the_document_is_answered_with_a_5xx(shop):
    shop.prepare()
    schemathesis = Path(sys.executable).parent / "schemathesis"
    command = [
        schemathesis, "run", f"{shop.url}/api-docs",
        "--checks", "not_a_server_error",
        "--phases", "examples,coverage,fuzzing",
        "--seed", "1",
        # More are threads, in which Python 3.11 cannot parse Python.
        "--workers", "1",
        "--max-examples", "10",
        "--request-timeout", "40",
        "--no-shrink",
        "--continue-on-failure",
    ]
    done = subprocess.run(command, cwd=shop.folder, capture_output=True, text=True, timeout=300)
    (shop.folder / "schemathesis.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
