"""Starts the five services, each a process, and ends with them.

Usage: workers.py     with DATABASE_URL, CONDUCTOR_SERVER_URL and SANDBOX in the environment
"""

import signal
import subprocess
import sys
from pathlib import Path

import shop

SERVICES = [
    "order_acknowledgement",
    "payment_processing",
    "stock_booking",
    "delivery_scheduling",
    "notification",
]


def main() -> None:
    shop.database_url()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(__file__).parent
    running = [subprocess.Popen([sys.executable, folder / f"{service}.py"]) for service in SERVICES]
    print("five services run; Ctrl-C ends them", flush=True)
    try:
        for service in running:
            service.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for service in running:
            service.terminate()
        for service in running:
            service.wait()


if __name__ == "__main__":
    main()
