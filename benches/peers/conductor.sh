#!/usr/bin/env bash
# Five tasks in a line on a real Conductor 3.32 with PostgreSQL, its tasks done by the fast worker of `oms bench`, and
# after it the harness' drain on the same machine: prints both rates and their ratio. Conductor's runs have the smaller
# input. It downloads 460 MB once; it needs cargo, PostgreSQL, mvn, curl, python3, and Java 21 (or pip, which has one).
#
# Usage: benches/peers/conductor.sh [RUNS]      so many are measured (500), after 2,500 to warm up, as it needs
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-500}
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$target/e2e

. e2e/conductor.sh

cargo build --quiet --locked --release -p oms-server
cargo bench --quiet --locked --no-run --bench workflows
start_database
start_conductor
# One task a poll: a batch poll of Conductor waits for as many as it is asked for.
drive() { "$target/release/oms" --json bench --server "$conductor" --steps 5 --workers 32 --batch 1 --workflows "$1"; }
drive 2500 >/dev/null
drive "$runs" >"$scratch/conductor.json"
kill -TERM "${programs[-1]}" && wait "${programs[-1]}" || :
cargo bench --quiet --locked --bench workflows -- --scenario 'linear5 drain' --runs 3 --json >"$scratch/engine.json"

python3 - "$scratch" <<'RATIO'
import json
import sys
from pathlib import Path

of = lambda name: json.loads((Path(sys.argv[1]) / f"{name}.json").read_text())
conductor = of("conductor")["workflowsPerSecond"]
engine = next(f["value"] for f in of("engine") if f["figure"] == "workflows per second")
print(f"workflows per second: engine {engine:.0f}, Conductor {conductor:.1f}; engine ÷ Conductor {engine / conductor:.0f}")
RATIO
