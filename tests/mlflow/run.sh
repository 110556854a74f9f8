#!/usr/bin/env bash
# Starts an MLflow server, runs two nights that tell it of their models, and asks it.
#
#   tests/mlflow/run.sh DIR DATE DATE     with SCOREHOUSE, the binary, from the environment
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$here/orchestration/lib.sh"
work=$1
rm -rf "$work"
mkdir -p "$work"

coproc SERVER { exec "$here/orchestration/mlflow.sh" serve "$work/server"; }
trap 'exec {SERVER[1]}>&-; wait "$SERVER_PID" || true' EXIT
read -r line <&"${SERVER[0]}"
export MLFLOW_TRACKING_URI=${line#endpoint=}
export SCOREHOUSE_LAKE=$work/lake SCOREHOUSE_RAW=$work/raw SCOREHOUSE_DATE=$3

cd "$here"
"$SCOREHOUSE" generate --users 2000 --days 400 --seed 1 --date "$3" --raw "$work/raw"
for date in "$2" "$3"; do
    # A candidate that the gate refuses is told of, too.
    "$SCOREHOUSE" nightly --date "$date" --raw "$work/raw" --lake "$work/lake" || [ $? = 4 ]
done
"$tools/mlflow/bin/python" -m pytest -q -p no:cacheprovider tests/mlflow
