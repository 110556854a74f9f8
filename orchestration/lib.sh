# What the scripts have in common that start other people's servers: sourced by them, and nothing by itself.
#
# Such a server listens on free ports of 127.0.0.1 only, and ends when the standard input of its script does: whoever
# started it, dead or alive, leaves no server behind.
# shellcheck shell=bash

tools=${SCOREHOUSE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/scorehouse/tools}

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

# fail WHAT FIX: one line for what is wrong, one for what to do about it.
fail() {
    say "$1"
    say "$2"
    exit 1
}

# private NAME PROGRAM SAID PACKAGE…: packages in a virtual environment $tools/NAME, once; quiet where PROGRAM is there.
private() {
    local home=$tools/$1 program=$2 said=$3
    shift 3
    [ "$(cat "$home/installed.txt" 2>/dev/null)" = "$*" ] && [ -x "$program" ] && return
    say "installing $1 into $home$said"
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 \
        || fail "pip could not install $*" "is the package index reachable? see 'pip config list'"
    printf '%s\n' "$*" >"$home/installed.txt"
}

# free_ports N: so many ports of this machine that nobody listens on, all held until the last is known. They lie below
# those that the system gives to outgoing connections, or one of these could take a port before its server does.
free_ports() {
    python3 -c 'import pathlib, random, socket, sys
given = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
end = int(given.read_text().split()[0]) if given.exists() else 32768
held = []
while len(held) < int(sys.argv[1]):
    held.append(socket.socket())
    try:
        held[-1].bind(("127.0.0.1", random.randrange(10240, end) if end > 20480 else 0))
    except OSError:
        held.pop().close()
print(*(s.getsockname()[1] for s in held))' "$1"
}

# answers URL [OPTION…]: whether a server is there, whatever it says.
answers() { curl -s -o /dev/null --max-time 2 "$@"; }

# alive PROCESS: whether it is.
alive() { kill -0 "$1" 2>/dev/null; }

# while_told COMMAND…: returns when standard input has ended; fails when COMMAND does before, as `alive` of a server.
while_told() {
    local status
    while "$@"; do
        status=0
        read -r -t 1 _ || status=$?
        # Above 128 nothing came within a second; else that is the end.
        [ "$status" = 0 ] || [ "$status" -gt 128 ] || return 0
    done
    return 1
}
