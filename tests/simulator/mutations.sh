#!/usr/bin/env bash
# Shows that the simulator has teeth: applies each fault of tests/simulator/mutations/*.patch alone to a copy of the
# tree and expects the simulator to find it within RUNS runs; the unchanged tree must pass as many.
#
#   tests/simulator/mutations.sh [NAME…]     (NAME: a patch without .patch; default: all)
#   RUNS=4000 FROM=1                          seeds to play
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-4000} from=${FROM:-1}
here=tests/simulator/mutations
work=${CARGO_TARGET_DIR:-target}/mutations
tree=$work/tree
mkdir -p "$work"
work=$(cd "$work" && pwd) tree=$work/tree

# A copy with the files' times, so that only what a fault touches is compiled again.
rm -rf "$tree" && mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ -e $file ]] && printf '%s\0' "$file"
done | tar --create --null --files-from=- | tar --extract --directory "$tree"

# Compiling is what takes time here, not running.
export CARGO_TARGET_DIR=$work/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_INCREMENTAL=true CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

build() {
    (cd "$tree" && cargo build --release --quiet --package ringfork-simulator) >"$work/log" 2>&1 || {
        cat "$work/log"
        echo "$1: does not compile"
        exit 1
    }
}
play() { "$CARGO_TARGET_DIR/release/ringfork-simulator" --runs "$runs" --from "$from"; }

build "the unchanged tree"
if ! play >"$work/log" 2>&1; then
    cat "$work/log"
    echo "the unchanged tree has a fault of its own"
    exit 1
fi
echo "unchanged: no fault in $runs runs"

missed=0 count=0
if [[ $# -gt 0 ]]; then
    patches=("${@/%/.patch}")
    patches=("${patches[@]/#/$here/}")
else
    patches=("$here"/*.patch)
fi
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    patch --directory "$tree" --strip 1 --silent --no-backup-if-mismatch <"$patch" || {
        echo "$name: the patch does not apply any more"
        exit 1
    }
    build "$name"
    count=$((count + 1))
    if play >"$work/log" 2>&1; then
        missed=$((missed + 1))
        echo "$name: MISSED"
    else
        echo "$name: found: $(grep --max-count 1 --extended-regexp 'seed|panicked' "$work/log")"
    fi
    patch --directory "$tree" --strip 1 --silent --reverse --no-backup-if-mismatch <"$patch"
done
echo "$((count - missed)) of $count faults found"
[[ $missed -eq 0 ]]
