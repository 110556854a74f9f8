#!/usr/bin/env bash
# Airflow on this machine, for tests and for trying the DAG of orchestration/airflow: from the package index, once.
#
#   orchestration/airflow.sh install             into $SCOREHOUSE_TOOLS; says nothing when it is there
#   orchestration/airflow.sh run DIR ARGUMENT…   `airflow ARGUMENT…`, as in: run DIR dags test scorehouse 2025-06-29
#   orchestration/airflow.sh serve DIR           API server, DAG processor and scheduler, for what `run DIR` asks
#
# DIR is Airflow's home: its database (SQLite), its logs, and nothing outside it. What is served listens on a free port
# of 127.0.0.1 only, says `endpoint=http://127.0.0.1:PORT` on stdout once it answers, and ends when standard input does,
# or at Ctrl-C. Whoever reaches that port is admin: this is for one machine and one user. SCOREHOUSE, SCOREHOUSE_PROJECT
# and SCOREHOUSE_PROFILE are what the DAG takes from the environment; any AIRFLOW__… setting of the caller's holds.
set -euo pipefail

readonly PACKAGE=apache-airflow==3.3.2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
airflow=$tools/airflow/bin/airflow
constraints=$here/airflow/constraints.txt

install() {
    cmp -s "$constraints" "$tools/airflow/installed.txt" && [ -x "$airflow" ] && return
    say "installing $PACKAGE into $tools/airflow: some 300 MB"
    rm -rf "$tools/airflow"
    python3 -m venv "$tools/airflow"
    "$tools/airflow/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "$PACKAGE" >&2 \
        || fail "pip could not install $PACKAGE" "is the package index reachable? see 'pip config list'"
    cp "$constraints" "$tools/airflow/installed.txt"
}

# setting NAME VALUE: of Airflow, unless the caller has one.
setting() { [ -n "${!1+set}" ] || export "$1=$2"; }

# settle: Airflow's home, with a database and the DAG's pool, made once.
settle() {
    install
    export AIRFLOW_HOME=$dir
    setting AIRFLOW__CORE__DAGS_FOLDER "$here/airflow"
    setting AIRFLOW__CORE__LOAD_EXAMPLES False
    setting AIRFLOW__CORE__EXECUTOR LocalExecutor
    setting AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS True
    setting AIRFLOW__DATABASE__SQL_ALCHEMY_CONN "sqlite:///$dir/airflow.db"
    setting AIRFLOW__USAGE_DATA_COLLECTION__ENABLED False
    # Python's own, next to a DAG that may lie where nobody may write.
    export PYTHONDONTWRITEBYTECODE=1
    [ -e "$dir/settled.txt" ] && return
    "$airflow" db migrate >"$dir/settle.log" 2>&1 \
        && "$airflow" pools set scorehouse 1 "jobs of one lake at a time" >>"$dir/settle.log" 2>&1 \
        || fail "Airflow's database cannot be made" "$dir/settle.log says why"
    touch "$dir/settled.txt"
}

# part NAME ARGUMENT…: one of Airflow's processes, in a group of its own with what it starts.
part() {
    set -m
    "$airflow" "$@" </dev/null >"$dir/$1.log" 2>&1 &
    set +m
    parts+=($!)
}

# alive_all: whether all parts are.
alive_all() {
    local part
    for part in "${parts[@]}"; do alive "$part" || return 1; done
}

# stop: by their numbers; they are asked first, and not for long.
stop() {
    local part
    for part in "${parts[@]}"; do kill -- "-$part" 2>/dev/null || true; done
    for _ in $(seq 50); do alive_any || return 0; sleep 0.1; done
    for part in "${parts[@]}"; do kill -9 -- "-$part" 2>/dev/null || true; done
}

alive_any() {
    local part
    for part in "${parts[@]}"; do ! kill -0 -- "-$part" 2>/dev/null || return 0; done
    return 1
}

serve() {
    local port
    port=$(free_ports 1)
    export AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT=$port AIRFLOW__API__WORKERS=1
    export AIRFLOW__API__BASE_URL=http://127.0.0.1:$port
    export AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://127.0.0.1:$port/execution/
    setting AIRFLOW__API_AUTH__JWT_SECRET "$(python3 -c 'import secrets; print(secrets.token_hex(32))')"
    part api-server
    for _ in $(seq 300); do
        answers "http://127.0.0.1:$port/api/v2/version" && break
        alive_all || break
        sleep 0.2
    done
    part dag-processor
    # Logs are files in DIR: nobody else needs to be served them.
    part scheduler --skip-serve-logs
    "$airflow" dags reserialize >"$dir/reserialize.log" 2>&1 \
        || fail "the DAG cannot be read" "$dir/reserialize.log says why"
    alive_all || fail "a part of Airflow ended by itself" "the logs are in $dir"
    printf 'endpoint=http://127.0.0.1:%s\n' "$port"
    while_told alive_all || fail "a part of Airflow ended by itself" "the logs are in $dir"
}

case "${1:-}" in
    install) install ;;
    run | serve)
        dir=$(mkdir -p "${2:?names the directory that is to be the home of Airflow}" && cd "$2" && pwd)
        settle
        if [ "$1" = run ]; then
            shift 2
            # Of a DAG that has a deadline it fails at the end: it looks for the deadline in the database, where it is not.
            [ "${1:-} ${2:-}" = "dags test" ] && export SCOREHOUSE_DEADLINE=
            exec "$airflow" "$@"
        fi
        parts=()
        trap stop EXIT
        trap 'exit 130' INT TERM
        serve
        ;;
    *) fail "'${1:-}' is not among install, run and serve" "see the head of $0" ;;
esac
