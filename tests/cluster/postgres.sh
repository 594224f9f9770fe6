#!/usr/bin/env bash
# PostgreSQL on loopback, for tests.
#   postgres.sh up DIR PORT   starts it; user `initlab` has the password in DIR/password, and the databases
#                             `initlab`, `mlflow` and `mlflow_auth`; PGPASSFILE=DIR/pgpass holds the password for clients
#   postgres.sh down DIR      ends it
# Everything lies under DIR. Runs as any user; root starts it as the user `postgres`, who must be able to reach DIR.
set -euo pipefail
usage() { sed -n '2,5s/^# \{0,3\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
verb=$1; mkdir -p "$2"; dir=$(cd "$2" && pwd); port=${3:-25432}
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || { echo "postgres.sh: PostgreSQL is not installed" >&2; exit 1; }
owner=(); [ "$(id -u)" != 0 ] || owner=(runuser -u postgres --)
# Not the caller's folder, which the other user might not see.
cd /

own() { if [ "$(id -u)" = 0 ]; then chown postgres "$@"; fi; }

initialise() {
  (umask 077; head -c 18 /dev/urandom | base64 | tr '+/' 'xy' >"$dir/password")
  mkdir -p "$dir/server"; cp "$dir/password" "$dir/server/given"; chmod 700 "$dir/server"
  own "$dir/server" "$dir/server/given"
  "${owner[@]}" "$bin/initdb" --pgdata="$dir/server/data" --username=initlab --auth=scram-sha-256 \
    --pwfile="$dir/server/given" --encoding=UTF8 --no-sync >/dev/null
  rm "$dir/server/given"
}

create_databases() {
  for name in initlab mlflow mlflow_auth; do
    psql -h 127.0.0.1 -p "$port" -U initlab -d postgres -qAtc "select 1 from pg_database where datname = '$name'" | grep -q 1 ||
      createdb -h 127.0.0.1 -p "$port" -U initlab "$name"
  done
}

up() {
  chmod 755 "$dir"
  [ -d "$dir/server/data" ] || initialise
  (umask 077; echo "127.0.0.1:$port:*:initlab:$(cat "$dir/password")" >"$dir/pgpass")
  export PGPASSFILE=$dir/pgpass
  "${owner[@]}" "$bin/pg_ctl" --pgdata="$dir/server/data" --silent --wait --log="$dir/server/log" \
    --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start </dev/null
  create_databases
}

down() { "${owner[@]}" "$bin/pg_ctl" --pgdata="$dir/server/data" --silent --mode=fast stop; }

case $verb in up) up ;; down) down ;; *) usage ;; esac
