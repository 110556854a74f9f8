#!/usr/bin/env bash
# An MLflow server on this machine, for tests and for trying things, from the package index.
#
#   orchestration/mlflow.sh install     into $SCOREHOUSE_TOOLS, once; says nothing when it is there
#   orchestration/mlflow.sh serve DIR   its database (SQLite) and artifacts in DIR
#
# The server listens on a free port of 127.0.0.1 only, says `endpoint=http://127.0.0.1:PORT` on stdout once it answers,
# and ends when standard input does, or at Ctrl-C. Whoever reaches that port may do everything.
set -euo pipefail

# With what the tests load models by.
readonly PACKAGES=(mlflow==3.17.2 lightgbm==4.7.0 deltalake==1.6.6 pytest==9.2.0)

tools=${SCOREHOUSE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/scorehouse/tools}
mlflow=$tools/mlflow/bin/mlflow

say() { printf 'mlflow: %s\n' "$*" >&2; }

fail() {
    printf 'mlflow: %s\nmlflow: %s\n' "$1" "$2" >&2
    exit 1
}

install() {
    [ "$(cat "$tools/mlflow/installed.txt" 2>/dev/null)" = "${PACKAGES[*]}" ] && [ -x "$mlflow" ] && return
    say "installing ${PACKAGES[0]} into $tools/mlflow: some 600 MB"
    rm -rf "$tools/mlflow"
    python3 -m venv "$tools/mlflow"
    "$tools/mlflow/bin/python" -m pip install --quiet --disable-pip-version-check "${PACKAGES[@]}" >&2 \
        || fail "pip could not install ${PACKAGES[*]}" "is the package index reachable? see 'pip config list'"
    printf '%s\n' "${PACKAGES[*]}" >"$tools/mlflow/installed.txt"
}

free_port() {
    python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

serve() {
    local port status
    port=$(free_port)
    set -m
    "$mlflow" server --host 127.0.0.1 --port "$port" --workers 1 --backend-store-uri "sqlite:///$dir/mlflow.db" \
        --artifacts-destination "$dir/artifacts" --serve-artifacts </dev/null >"$dir/server.log" 2>&1 &
    set +m
    server=$!
    trap 'kill -- "-$server" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    for _ in $(seq 600); do
        curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port/health" && break
        kill -0 "$server" 2>/dev/null || fail "the server ended by itself" "$dir/server.log says why"
        sleep 0.2
    done
    printf 'endpoint=http://127.0.0.1:%s\n' "$port"
    while kill -0 "$server" 2>/dev/null; do
        status=0
        read -r -t 1 _ || status=$?
        [ "$status" = 0 ] || [ "$status" -gt 128 ] || return 0
    done
    fail "the server ended by itself" "$dir/server.log says why"
}

case "${1:-}" in
    install) install ;;
    serve)
        dir=$(mkdir -p "${2:?names the directory that the server keeps its data in}" && cd "$2" && pwd)
        install
        serve
        ;;
    *) fail "'${1:-}' is not among install and serve" "see the head of $0" ;;
esac
