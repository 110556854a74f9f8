#!/usr/bin/env bash
# What is handed out: one stripped binary with a checksum, a bill of materials, completions and manual pages.
#
#   orchestration/dist.sh BINARY DIRECTORY
#
# The binary is the one that was built and tested, without its symbols: another profile would build every dependency
# once more.
set -euo pipefail

binary=$1
dist=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

sum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

rm -rf "$dist"
mkdir -p "$dist/completions" "$dist/man"
cp "$binary" "$dist/scorehouse"
if [ "$(uname -s)" = Darwin ]; then
    strip -x "$dist/scorehouse"
    codesign --force --sign - "$dist/scorehouse" # Stripping ends a signature, and nothing unsigned runs.
else
    strip "$dist/scorehouse"
fi

"$dist/scorehouse" completions bash >"$dist/completions/scorehouse.bash"
"$dist/scorehouse" completions zsh >"$dist/completions/_scorehouse"
"$dist/scorehouse" completions fish >"$dist/completions/scorehouse.fish"
"$dist/scorehouse" completions powershell >"$dist/completions/_scorehouse.ps1"
"$dist/scorehouse" completions elvish >"$dist/completions/scorehouse.elv"
"$dist/scorehouse" man "$dist/man"
python3 "$here/sbom.py" --binary "$dist/scorehouse" >"$dist/scorehouse.cdx.json"
(cd "$dist" && sum scorehouse scorehouse.cdx.json >SHA256SUMS)

"$dist/scorehouse" --version
echo "In $dist: $(du -h "$dist/scorehouse" | cut -f 1) of binary, SHA256SUMS, scorehouse.cdx.json, completions/, man/"
