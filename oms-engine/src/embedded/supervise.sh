# Supervises one PostgreSQL server: starts it when told to, stops it when nobody uses it.
#
# $1 directory of the server programs, $2 seconds to wait for another user after the last one
# ended, $3 what becomes of the data then: keep | discard | remove (the whole folder).
# Working directory: the server's folder. Standard input: its supervisor.lock, locked; the kernel
# frees the lock when this script ends, however it ends.
#
# Every program that uses the server holds `users` open for writing, so the end of file of `users`
# is the end of the last of them. Since this script alone starts and stops the server, and one after
# the other, no start can be under way when it decides to stop.
bin=$1 linger=$2 after=$3

# Ctrl-C in a user's terminal is not for the server, and a shutdown of the machine ends the users too.
trap '' HUP INT QUIT TERM

answer() {
  echo "$1" >ack.new && mv -f ack.new ack
}

initialize() {
  rm -rf data.new
  sync=
  [ "$after" = keep ] || sync=--no-sync
  "$bin/initdb" -D data.new -U oms -E UTF8 --locale=C --auth-local=trust \
    --auth-host=scram-sha-256 --pwfile=password --no-instructions $sync </dev/null >>log 2>&1 &&
    echo "include_if_exists = '../oms.conf'" >>data.new/postgresql.conf &&
    mv data.new data
}

# The standard input of commands must not be `users`: a server that held it for reading would look
# like a supervisor.
launch() {
  "$bin/pg_ctl" start -s -w -t 300 -D data -l log </dev/null >>log 2>&1
}

begin() {
  [ -f log ] && mv -f log log.1
  [ -d data ] || initialize || return 1
  launch && return 0
  [ "$after" = keep ] && return 1
  # Thrown-away data that was cut off by a power failure may be beyond recovery: begin anew.
  grep -q 'shared memory block\|postmaster.pid' log && return 1
  rm -rf data
  initialize && launch
}

halt() {
  "$bin/pg_ctl" stop -s -w -t 60 -D data -m "$1" </dev/null >>log 2>&1
}

await_first_user() {
  tries=0
  while [ ! -e joined ] && [ "$tries" -lt 100 ]; do
    sleep 0.05 || sleep 1
    tries=$((tries + 1))
  done
}

[ -p users ] || { rm -f users && mkfifo -m 600 users; } || exit 1

# A background process holds `users` open as well, for as long as the next user may take to come: so
# a round ends when that time is over and the last user is gone, and the last round is one in which
# nobody joined.
rm -f joined
await_first_user </dev/null >users &
while :; do
  joined=
  while read -r command argument; do
    case $command in
      join) joined=1 && : >joined && answer 0 ;;
      start) begin; answer $? ;;
      stop) halt "$argument"; answer $? ;;
    esac
  done <users
  [ -n "$joined" ] || break
  sleep "$linger" </dev/null >users &
done

# The directory of the socket, where that is not this folder.
sockets=$(sed -n 5p data/postmaster.pid 2>/dev/null)
if [ -f data/postmaster.pid ]; then
  { [ "$after" = keep ] && halt fast; } || halt immediate
fi
[ -z "$sockets" ] || [ "$sockets" = "$PWD" ] || rmdir "$sockets"
case $after in
  discard) rm -rf data data.new ;;
  remove) rm -rf "$PWD" ;;
esac
