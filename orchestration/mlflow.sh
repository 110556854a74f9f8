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

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mlflow=$tools/mlflow/bin/mlflow

install() { private mlflow "$mlflow" ": some 600 MB" "${PACKAGES[@]}"; }

serve() {
    local port
    port=$(free_ports 1)
    set -m
    "$mlflow" server --host 127.0.0.1 --port "$port" --workers 1 --backend-store-uri "sqlite:///$dir/mlflow.db" \
        --artifacts-destination "$dir/artifacts" --serve-artifacts </dev/null >"$dir/server.log" 2>&1 &
    set +m
    server=$!
    trap 'kill -- "-$server" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    for _ in $(seq 600); do
        answers "http://127.0.0.1:$port/health" --fail && break
        alive "$server" || fail "the server ended by itself" "$dir/server.log says why"
        sleep 0.2
    done
    printf 'endpoint=http://127.0.0.1:%s\n' "$port"
    while_told alive "$server" || fail "the server ended by itself" "$dir/server.log says why"
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
