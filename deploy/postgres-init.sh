#!/bin/sh
# Makes the databases of Dagster and MLflow, each with a role of its own that owns it and reaches nothing else.
# The official postgres image runs it once, on an empty volume; on a server run it as the user postgres.
# Passwords come from the files dagster_password and mlflow_password in $SECRETS.
set -eu
secrets="${SECRETS:-/run/secrets}"
for name in dagster mlflow; do
  # In an environment of psql's own: an argument could be read by `ps`.
  ROLE_PASSWORD="$(cat "$secrets/${name}_password")" \
    psql -X -q -v ON_ERROR_STOP=1 -v name="$name" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv password ROLE_PASSWORD
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
