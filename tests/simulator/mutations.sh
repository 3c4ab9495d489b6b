#!/usr/bin/env bash
# Shows that the simulator has teeth: applies one deliberate fault at a time (tests/simulator/mutations/*.patch) to a
# copy of the source and runs the simulator, which must find it. RUNS bounds the runs of each (default 20000).
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-20000}
root=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/mutations"

found=0 missed=0
simulate() { (cd "$copy" && cargo run --release -q -p ringfork-simulator -- --runs "$runs" 2>&1); }

echo "unchanged source"
if ! output=$(simulate); then
    echo "$output" | tail -5
    echo "the unchanged source has a fault: mutations would prove nothing" >&2
    exit 1
fi
for patch in "$root"/tests/simulator/mutations/*.patch; do
    name=$(basename "$patch" .patch)
    if ! (cd "$copy" && patch -p1 -s --no-backup-if-mismatch <"$patch"); then
        echo "$name: no longer applies; make it anew" >&2
        exit 1
    fi
    if output=$(simulate); then
        missed=$((missed + 1))
        echo "MISSED  $name: $(echo "$output" | tail -1)"
    elif echo "$output" | grep -q '^seed '; then
        found=$((found + 1))
        echo "found   $name: $(echo "$output" | grep '^seed ' | head -1 | cut -c1-150)"
    else
        echo "$output" | tail -20
        echo "$name: it does not build" >&2
        exit 1
    fi
    (cd "$copy" && patch -p1 -s -R --no-backup-if-mismatch <"$patch")
done
echo "$found found, $missed missed"
[ "$missed" = 0 ]
