#!/usr/bin/env bash
# Measures `oms server` beside a real Conductor 3.32 on the same machine and PostgreSQL, each with the same fast
# worker (`oms bench`), and with the same five workers of the official SDK for Python (throughput.py). Prints all
# figures, the ratios last. Not one of the tests: it downloads 460 MB once.
#
# Usage: e2e/conductor_beside.sh [RUNS]     needs what e2e/run.sh needs, mvn, and Java 21 (or pip, which has one)
# RUNS is how many each gets of the Python workers (1,000), Conductor of the fast one half of it, oms ten times it.
# WORKERS=32 tries the fast worker with another number of workers, each of which works on up to 16 tasks at once;
# IN_FLIGHT=400 with another number of runs under way than 200.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
runs=${1:-1000}
workers=${WORKERS:-16}
in_flight=${IN_FLIGHT:-200}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/target}
home=$CARGO_TARGET_DIR/e2e

. e2e/conductor.sh
[ -x "$home/venv/bin/python" ] || fail 'the SDK is not installed: e2e/run.sh --collect-only installs it'

cargo build --quiet --locked --release -p oms-server

start_database

# $1 a process; out: milliseconds of CPU that it and its children have used
cpu_of() {
  local all
  all="$1 $(pgrep -P "$1" | tr '\n' ' ')"
  for process in $all; do cat "/proc/$process/stat" 2>/dev/null || :; done | sed 's/.*) //' |
    awk '{used += $12 + $13} NR == 1 {used += $14 + $15} END {print used * 10}'
}

# $1 name, $2 its process, $3 url, $4 runs to warm up with
measure() {
  local name=$1 process=$2 figures server database alone=30
  server=$(cpu_of "$process") database=$(cpu_of "$(head -n 1 "$scratch/data/postmaster.pid")")
  figures=$("$home/venv/bin/python" e2e/throughput.py "$3" --runs "$runs" --warm-up "$4" --alone $alone \
    2>"$scratch/$name.err") || {
    tail -n 20 "$scratch/$name.err" >&2
    fail "$name"
  }
  printf '%s' "$figures" >"$scratch/$name.python"
  server=$(($(cpu_of "$process") - server))
  database=$(($(cpu_of "$(head -n 1 "$scratch/data/postmaster.pid")") - database))
  awk -v name="$name" -v figures="$figures" -v runs=$((runs + $4 + alone)) -v server="$server" -v database="$database" \
    'BEGIN {printf "%s %s CPU a run: server %.1f ms, PostgreSQL %.1f ms\n", name, figures, server / runs, database / runs}'
}

# The fast worker: steady throughput, and one run at a time. Both after a warm-up. Steady with 16 tasks at once in
# each worker and with one, and the better counts: Conductor's batch poll waits for as many tasks as it is asked for.
# $1 name, $2 url, $3 runs, $4 runs to warm up with
drive() {
  local bench=("$CARGO_TARGET_DIR/release/oms" --json bench --server "$2" --steps 5 --workers "$workers")
  "${bench[@]}" --workflows "$4" --batch 1 >/dev/null || fail "$1 with oms bench"
  for batch in 16 1; do
    if "${bench[@]}" --workflows "$3" --batch "$batch" --in-flight "$in_flight" --timeout 300 >"$scratch/steady"; then
      mv "$scratch/steady" "$scratch/$1.steady.$batch"
      printf '%s, the fast worker: %s\n' "$1" "$(cat "$scratch/$1.steady.$batch")"
    else
      printf '%s, the fast worker with %s tasks at once: in vain\n' "$1" "$batch"
    fi
  done
  "${bench[@]}" --workflows 30 --batch 1 --in-flight 1 --starters 1 >"$scratch/$1.idle" || fail "$1 with oms bench"
  printf '%s, the fast worker, one at a time: %s\n' "$1" "$(cat "$scratch/$1.idle")"
}

port=$(free_port)
sql 'CREATE DATABASE oms'
"$CARGO_TARGET_DIR/release/oms" server --port "$port" \
  --database-url "postgresql://bench@127.0.0.1:$database_port/oms" >"$scratch/oms.log" 2>&1 &
programs+=($!)
until_it_does 30 grep -q 'listens on' "$scratch/oms.log"
drive oms "http://127.0.0.1:$port" $((runs * 10)) "$runs"
measure oms "${programs[-1]}" "http://127.0.0.1:$port" 100
kill -TERM "${programs[-1]}" && wait "${programs[-1]}" || :

start_conductor
drive conductor "$conductor" $((runs / 2)) "$runs"
measure conductor "${programs[-1]}" "$conductor" "$runs"

"$home/venv/bin/python" - "$scratch" <<'RATIOS'
import json
import sys
from pathlib import Path

of = lambda name, what: json.loads((Path(sys.argv[1]) / f"{name}.{what}").read_text())
settings = lambda name: map(Path.read_text, Path(sys.argv[1]).glob(f"{name}.steady.*"))
rate = lambda name: max(json.loads(figures)["workflowsPerSecond"] for figures in settings(name))
steady = [rate(name) for name in ("oms", "conductor")]
idle = [of(name, "idle")["latencyMs"]["p50"] for name in ("oms", "conductor")]
python = [of(name, "python") for name in ("oms", "conductor")]
each, alone = ([figures[key] for figures in python] for key in ("runs_per_second", "alone_ms_median"))
for what, (ours, theirs) in {
    "fast worker, workflows a second": steady,
    "fast worker, one at a time, median ms": idle,
    "Python workers, workflows a second": each,
    "Python workers, one at a time, median ms": alone,
}.items():
    print(f"{what}: oms {ours:g}, Conductor {theirs:g}, ratio {ours / theirs:.3g} (1 to {theirs / ours:.3g})")
RATIOS
