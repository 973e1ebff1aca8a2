#!/bin/sh
# Makes the secrets of compose.yaml, once: random passwords, and the addresses that hold them.
#   deploy/make-secrets.sh [FOLDER]        (by default: secrets beside this script)
# The folder is its owner's alone. Its files are readable, because each container reads them as a user of its own.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
if [ -e "$folder" ]; then
  echo "error $folder: exists already; a new privacy key would give every customer another pseudonym" >&2
  exit 1
fi
umask 077
mkdir -p "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
put() { printf '%s' "$2" >"$folder/$1"; }
put postgres_password "$(random)"
put dagster_password "$(random)"
put mlflow_password "$(random)"
put dagster__postgres_url "postgresql://dagster:$(cat "$folder/dagster_password")@postgres:5432/dagster"
put mlflow__backend_url "postgresql://mlflow:$(cat "$folder/mlflow_password")@postgres:5432/mlflow"
put privacy__key "$(random)"
chmod 444 "$folder"/*
echo "made $folder; keep a copy of privacy__key where the backups are not"
