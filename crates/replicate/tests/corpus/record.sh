#!/usr/bin/env bash
# Records mariadb.binlog: what a fresh MariaDB server writes for mariadb.sql. Needs mariadbd; run it as root or as the
# user that is to own the server's folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d /var/tmp/ghostlight-corpus.XXXXXX)
user=$([ "$(id -u)" = 0 ] && echo mysql || id -un)
chmod 755 "$folder"; chown "$user" "$folder"
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
mariadb-install-db --no-defaults --user="$user" --datadir="$folder/data" --skip-test-db --auth-root-authentication-method=normal >/dev/null
mariadbd --no-defaults --user="$user" --datadir="$folder/data" --socket="$folder/socket" --skip-networking --server-id=7 \
    --log-bin=log --binlog-format=ROW --binlog-row-metadata=FULL --max-allowed-packet=64M >"$folder/out" 2>&1 &
server=$!
for _ in $(seq 100); do [ -S "$folder/socket" ] && break; sleep 0.1; done
mariadb -uroot -S "$folder/socket" --default-character-set=utf8mb4 --force <"$here/mariadb.sql"
log=$(mariadb -uroot -S "$folder/socket" -N -e 'SHOW MASTER STATUS' | cut -f1)
cp "$folder/data/$log" "$here/mariadb.binlog"
ls -l "$here/mariadb.binlog"
