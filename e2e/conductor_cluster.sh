#!/usr/bin/env bash
# What is tried on a real Conductor 3.32 on PostgreSQL:
#   orders  200 orders on the five tasks of oms-conductor's tests, whose worker process is killed; the sandbox's
#           ledger is asked in the end. Then an order by the example place_order.
#   cases   the conformance cases, there and on `oms server`, and what came of them is compared.
# Not one of the tests: it downloads 460 MB once. See e2e/conductor.sh for what it needs.
#
# Usage: e2e/conductor_cluster.sh [orders|cases]     both when it is not said
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
home=$CARGO_TARGET_DIR/e2e
# The cases were played with this; 1g has not been enough with all of them.
heap=6g
. e2e/conductor.sh

orders() {
  CONDUCTOR_URL=$conductor cargo test --quiet --locked -p oms-conductor --test orders -- --nocapture
  "$CARGO_TARGET_DIR/debug/examples/place_order" --conductor "$conductor"
}

cases() {
  local port stand_in
  port=$(free_port) stand_in=$(free_port)
  sql 'CREATE DATABASE oms'
  "$CARGO_TARGET_DIR/debug/oms" server --port "$port" --http-allow "127.0.0.1:$stand_in" \
    --database-url "postgresql://bench@127.0.0.1:$database_port/oms" >"$scratch/oms.log" 2>&1 &
  programs+=($!)
  until_it_does 30 grep -q 'listens on' "$scratch/oms.log"
  python3 e2e/differential "http://127.0.0.1:$port" "$conductor" --port "$stand_in" --write "$home/differential.json"
}

parts=(orders cases)
case ${1-} in
  '') ;;
  orders | cases) parts=("$1") ;;
  *) fail "usage: $0 [orders|cases]" ;;
esac
cargo test --quiet --locked -p oms-conductor --test orders --no-run
cargo build --quiet --locked -p oms-server
cargo build --quiet --locked -p oms-tasks --example place_order
start_database
start_conductor
for part in "${parts[@]}"; do "$part"; done
