#!/usr/bin/env bash
# Installs what Scorehouse is compared with into a virtual environment, ~/.cache/scorehouse/peers, and says nothing when
# it is already there. DuckDB and Polars must install; PySpark needs a Java too, and without one the benches run
# without PySpark and say so.
#
#   benches/peers.sh
#
# PySpark's Java is the machine's own if it is 17 or 21, else Debian's package, unpacked into the same directory (as any
# user, nothing is installed). `java` in the environment is a link to it. SPARK_JAVA_HOME names another.
set -euo pipefail

readonly PYSPARK=pyspark==4.3.0
readonly JAVA_PACKAGE=openjdk-17-jre-headless

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${SCOREHOUSE_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/scorehouse/peers}

say() { printf 'peers: %s\n' "$*" >&2; }

fail() {
    printf 'peers: %s\npeers: %s\n' "$1" "$2" >&2
    exit 1
}

pip() { "$peers/bin/python" -m pip "$@" --quiet --disable-pip-version-check >&2; }

# java_works HOME: is it one that Spark 4 starts on? Its launcher asks for the vector module, which cut-down ones lack.
java_works() {
    [ -x "$1/bin/java" ] \
        && "$1/bin/java" --version 2>/dev/null | head -n 1 | grep -qE '^[a-z]+ (17|21)[. ]' \
        && "$1/bin/java" --list-modules 2>/dev/null | grep -q '^jdk.incubator.vector'
}

# The homes of the Javas that the machine has.
java_homes() {
    local java
    printf '%s\n' "${SPARK_JAVA_HOME:-}" "${JAVA_HOME:-}"
    java=$(command -v java) && dirname "$(dirname "$(readlink -f "$java")")"
    ls -d /usr/lib/jvm/* 2>/dev/null
    ! [ -x /usr/libexec/java_home ] || /usr/libexec/java_home 2>/dev/null
}

# unpack_java: Debian's package without installing it. Its configuration is links into /etc, turned to the copy's.
unpack_java() {
    local link
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    say "unpacking $JAVA_PACKAGE into $peers"
    (cd "$scratch" && apt-get download -qq "$JAVA_PACKAGE") 2>"$scratch/log" || { cat "$scratch/log" >&2; return 1; }
    rm -rf "$peers/jre"
    dpkg-deb -x "$scratch/$JAVA_PACKAGE"*.deb "$peers/jre"
    find "$peers/jre" -type l -lname '/etc/java*' | while read -r link; do
        ln -sfn "$peers/jre$(readlink "$link")" "$link"
    done
    ln -sfn "$peers"/jre/usr/lib/jvm/java-17-openjdk-* "$peers/java"
}

ensure_java() {
    local home
    java_works "$peers/java" && return
    while read -r home; do
        [ -n "$home" ] && java_works "$home" && ln -sfn "$home" "$peers/java" && return
    done < <(java_homes)
    unpack_java && java_works "$peers/java"
}

ensure_pyspark() {
    "$peers/bin/python" -c 'import pyspark' 2>/dev/null && return
    say "installing $PYSPARK into $peers"
    pip install "$PYSPARK"
}

mkdir -p "$peers"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if ! cmp -s "$here/requirements.txt" "$peers/installed.txt" || ! "$peers/bin/python" -c '' 2>/dev/null; then
    say "installing the peers into $peers"
    rm -rf "$peers"
    python3 -m venv "$peers" || fail "python3 cannot make a virtual environment" "install python3 and python3-venv"
    pip install -r "$here/requirements.txt" \
        || fail "pip could not install $here/requirements.txt" "is the package index reachable? See: pip config list"
    cp "$here/requirements.txt" "$peers/installed.txt"
fi
ensure_java || say "NO PYSPARK in these benches: it needs Java 17 or 21; install one, or set SPARK_JAVA_HOME"
ensure_pyspark || say "NO PYSPARK in these benches: pip could not install $PYSPARK"
