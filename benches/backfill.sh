#!/usr/bin/env bash
# Many nights by one backfill beside the same nights one after the other: same machine, same raw events, each on a copy
# of a lake that has had its first night. That both leave the same rows is held by tests/it/backfill.rs.
#
#   benches/backfill.sh [SCOREHOUSE]     with USERS, DAYS, SEED, DATE, NIGHTS, TURNS and BENCH_DIR from the environment
set -euo pipefail

scorehouse=${1:-scorehouse}
users=${USERS:-5000} days=${DAYS:-400} seed=${SEED:-1} date=${DATE:-2025-06-30} nights=${NIGHTS:-14} turns=${TURNS:-1}
work=${BENCH_DIR:-${TMPDIR:-/tmp}/scorehouse-bench}/backfill
on() { date -u -d "$date - $1 days" +%F; }

mkdir -p "$work"
rm -rf "$work"/lake*
trap 'rm -rf "$work"/lake*' EXIT

# run WHAT…: 4, a refused candidate, stops no night.
run() {
    local code=0
    "$scorehouse" "$@" --raw "$work/raw" >/dev/null 2>"$work/log" || code=$?
    [[ $code = 0 || $code = 4 ]] || { cat "$work/log" >&2; exit 1; }
}

# seconds COMMAND…
seconds() {
    local began ended
    began=$(date +%s.%N)
    "$@"
    ended=$(date +%s.%N)
    awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.1f", b - a }'
}

one_by_one() {
    local night
    for night in $(seq $((nights - 1)) -1 0); do
        run nightly --date "$(on "$night")" --lake "$work/lake.nights"
    done
}

at_once() {
    run backfill --from "$(on $((nights - 1)))" --to "$(on 0)" --lake "$work/lake.backfill"
}

"$scorehouse" generate --users "$users" --days "$days" --seed "$seed" --date "$(on 0)" --raw "$work/raw" >&2
run nightly --date "$(on "$nights")" --lake "$work/lake.first"
printf '| turn | %s nights | one backfill | ratio |\n|---|---|---|---|\n' "$nights"
for turn in $(seq "$turns"); do
    rm -rf "$work/lake.nights" "$work/lake.backfill"
    cp -a "$work/lake.first" "$work/lake.nights"
    cp -a "$work/lake.first" "$work/lake.backfill"
    a=$(seconds one_by_one)
    b=$(seconds at_once)
    printf '| %s | %s s | %s s | %s |\n' "$turn" "$a" "$b" "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f", b / a }')"
done
