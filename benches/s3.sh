#!/usr/bin/env bash
# A night in a bucket beside the same night on a local disk: same machine, same raw events, in turns. The server is the
# one of the tests, on this machine too, so that it takes its share of the same processors.
#
#   benches/s3.sh [SCOREHOUSE]     with USERS, DAYS, SEED, DATE, TURNS and BENCH_DIR from the environment
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scorehouse=${1:-scorehouse}
users=${USERS:-5000} days=${DAYS:-400} seed=${SEED:-1} date=${DATE:-2025-06-30} turns=${TURNS:-3}
work=${BENCH_DIR:-${TMPDIR:-/tmp}/scorehouse-bench}/s3

export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
mkdir -p "$work"
rm -rf "$work/server" "$work/lake"
coproc SERVER { exec "$here/orchestration/servers.sh" s3 "$work/server"; }
trap 'exec {SERVER[1]}>&-; wait "$SERVER_PID" || true; rm -rf "$work/server" "$work/lake"' EXIT
read -r line <&"${SERVER[0]}"
export AWS_ENDPOINT_URL=${line#endpoint=}

seconds() {
    local began ended
    began=$(date +%s.%N)
    "$@" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
    ended=$(date +%s.%N)
    awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.2f", b - a }'
}

# upload DIRECTORY PREFIX: its Parquet files below a prefix of the bucket.
upload() {
    local config=$work/curl
    (umask 077 && printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >"$config")
    (cd "$1" && find . -type f -name '*.parquet' | sed 's|^\./||') | while read -r file; do
        printf 'url = "%s/scorehouse/%s/%s"\nupload-file = "%s/%s"\noutput = /dev/null\n' \
            "$AWS_ENDPOINT_URL" "$2" "${file//=/%3D}" "$1" "$file"
    done >"$config.files"
    curl -sf --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
        -H 'Content-Type: application/octet-stream' -K "$config" -K "$config.files"
    rm -f "$config" "$config.files"
}

cd "$here"
"$scorehouse" generate --users "$users" --days "$days" --seed "$seed" --date "$date" --raw "$work/raw" >&2
upload "$work/raw" raw
printf '| turn | local | bucket | ratio | again, local | again, bucket |\n|---|---|---|---|---|---|\n'
ratios=()
for turn in $(seq "$turns"); do
    local_lake=$work/lake/$turn bucket_lake=s3://scorehouse/lake/$turn
    on_disk=(nightly --date "$date" --raw "$work/raw" --lake "$local_lake")
    in_bucket=(nightly --date "$date" --profile orchestration/s3.yaml --raw s3://scorehouse/raw --lake "$bucket_lake")
    a=$(seconds "$scorehouse" "${on_disk[@]}")
    b=$(seconds "$scorehouse" "${in_bucket[@]}")
    again_a=$(seconds "$scorehouse" "${on_disk[@]}")
    again_b=$(seconds "$scorehouse" "${in_bucket[@]}")
    ratio=$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f", b / a }')
    ratios+=("$ratio")
    printf '| %s | %s s | %s s | %s | %s s | %s s |\n' "$turn" "$a" "$b" "$ratio" "$again_a" "$again_b"
done
printf '\nmedian ratio %s, %s users, %s days, %s cores\n' \
    "$(printf '%s\n' "${ratios[@]}" | sort -n | sed -n "$(((turns + 1) / 2))p")" "$users" "$days" "$(getconf _NPROCESSORS_ONLN)"
