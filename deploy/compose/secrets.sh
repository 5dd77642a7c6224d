#!/bin/sh
# Makes the secrets of the compose stack on its first start, and never again. Tollgate's and Grafana's are in folders apart,
# and each file belongs to the one who reads it.
#   secrets.sh TOLLGATES_FOLDER GRAFANAS_FOLDER
set -eu

tollgate=65532
grafana=${GRAFANA_UID:-472}

# secret FILE OWNER [ORIGINAL]: 256 random bits, or the text of ORIGINAL, for OWNER alone
secret() {
  if [ ! -s "$1" ]; then
    unfinished=$1.unfinished
    rm -f "$unfinished"
    (
      umask 077
      if [ $# -gt 2 ]; then
        cat "$3"
      else
        head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
      fi >"$unfinished"
    )
    mv "$unfinished" "$1"
    echo "made $1"
  fi
  chmod 0400 "$1"
  # Only root can give a file away; whoever else runs this keeps it.
  [ "$(id -u)" != 0 ] || chown "$2" "$1"
}

# Tollgate's own two tokens, and Grafana's copy of the one that only reads.
secret "$1/admin-token" "$tollgate"
secret "$1/read-token" "$tollgate"
secret "$2/tollgate-token" "$grafana" "$1/read-token"
secret "$2/admin-password" "$grafana"
secret "$2/secret-key" "$grafana"
