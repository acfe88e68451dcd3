#!/bin/sh
# The official Conductor SDK for Python, unmodified, through the order scenario against `oms server`, which
# finds or downloads a PostgreSQL server of its own.
#
# Usage: e2e/python_sdk.sh     needs cargo, python3 with venv, and a package index
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

python3 -c 'import ensurepip, venv' 2>/dev/null ||
  fail "python3 with venv is not installed: apt-get install python3-venv"

scratch=$(mktemp -d)
# A database server that is started by root runs as another user, who must get through.
chmod 711 "$scratch"
server=
trap '[ -z "$server" ] || kill -TERM "$server" 2>/dev/null || :; [ -z "$server" ] || wait "$server" || :; rm -rf "$scratch"' EXIT

cargo build --quiet --locked -p oms-server || fail "the server does not compile"
target=${CARGO_TARGET_DIR:-target}
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet 'conductor-python==2.0.0' || fail "conductor-python cannot be installed"

env -u DATABASE_URL "$target/debug/oms" server --port 0 --data "$scratch/data" >"$scratch/said" &
server=$!
tries=0
until grep -q 'listens on' "$scratch/said"; do
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || fail "the server did not say where it is"
  kill -0 "$server" 2>/dev/null || fail "the server ended"
  sleep 0.2
done
url=$(sed -n 's/.*listens on //p' "$scratch/said")
"$scratch/venv/bin/python" e2e/python/order_flow.py "$url" 2>"$scratch/log" || {
  tail -n 40 "$scratch/log" >&2
  fail "the scenario"
}
