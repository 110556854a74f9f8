#!/usr/bin/env bash
# A night at a size worth timing: generates events, runs every job on them, and runs the night again, which must find
# nothing to do. The jobs report their own seconds, rows and peak memory.
#
#   benches/night.sh [SCOREHOUSE]     with USERS, DAYS, SEED, DATE and BENCH_DIR from the environment
set -euo pipefail

scorehouse=${1:-scorehouse}
users=${USERS:-100000} days=${DAYS:-400} seed=${SEED:-1} date=${DATE:-2025-06-30}
work=${BENCH_DIR:-${TMPDIR:-/tmp}/scorehouse-bench}

run() {
    local began=$SECONDS
    "$@"
    printf 'bench: %ds  %s\n' $((SECONDS - began)) "${*:2:1}" >&2
}

mkdir -p "$work"
rm -rf "$work/lake"
printf 'bench: %s users, %s days, in %s\n' "$users" "$days" "$work" >&2
run "$scorehouse" generate --users "$users" --days "$days" --seed "$seed" --date "$date" --raw "$work/raw"
run "$scorehouse" nightly --date "$date" --raw "$work/raw" --lake "$work/lake"
run "$scorehouse" nightly --date "$date" --raw "$work/raw" --lake "$work/lake"
du -sh "$work/raw" "$work/lake"
