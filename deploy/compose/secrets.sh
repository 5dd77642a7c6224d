#!/bin/sh
# Makes the secrets of the compose stack on its first start, and never again. Each file belongs to the one who reads it.
#   secrets.sh FOLDER
set -eu

folder=$1
tollgate=65532
grafana=${GRAFANA_UID:-472}

# secret NAME OWNER [FILE]: 256 random bits, or the text of FILE, for OWNER alone
secret() {
  target=$folder/$1
  if [ ! -s "$target" ]; then
    unfinished=$target.unfinished
    rm -f "$unfinished"
    (
      umask 077
      if [ $# -gt 2 ]; then
        cat "$3"
      else
        head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
      fi >"$unfinished"
    )
    mv "$unfinished" "$target"
    echo "made $1"
  fi
  chmod 0400 "$target"
  # Only root can give a file away; whoever else runs this keeps it.
  [ "$(id -u)" != 0 ] || chown "$2" "$target"
}

# Tollgate's own two tokens, and Grafana's copy of the one that only reads.
secret admin-token "$tollgate"
secret read-token "$tollgate"
secret grafana-token "$grafana" "$folder/read-token"
secret grafana-admin-password "$grafana"
secret grafana-secret-key "$grafana"
