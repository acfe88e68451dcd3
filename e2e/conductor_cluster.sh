#!/usr/bin/env bash
# Runs the orders of oms-conductor's tests on a real Conductor 3.32 on PostgreSQL: 200 orders on the five tasks,
# whose worker process is killed; the sandbox's ledger is asked in the end. Then places an order with the example.
# Not one of the tests: it downloads 460 MB once. See e2e/conductor.sh for what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
home=$CARGO_TARGET_DIR/e2e
. e2e/conductor.sh

cargo test --quiet --locked -p oms-conductor --test orders --no-run
cargo build --quiet --locked -p oms-tasks --example place_order
start_database
start_conductor
CONDUCTOR_URL=$conductor cargo test --quiet --locked -p oms-conductor --test orders -- --nocapture
"$CARGO_TARGET_DIR/debug/examples/place_order" --conductor "$conductor"
