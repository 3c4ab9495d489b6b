#!/usr/bin/env bash
# Shows that the simulator has teeth: applies each fault of tests/simulator/mutations/*.patch alone to a copy of the
# tree and expects the simulator to find it within RUNS runs; each of tests/crashes/mutations/*.patch must be found by
# the crash runs within CRASHES. The unchanged tree must pass as many.
#
#   tests/simulator/mutations.sh [NAME…]     (NAME: a patch without .patch; default: all)
#   RUNS=4000 CRASHES=2500 FROM=1             seeds to play
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-4000} crashes=${CRASHES:-2500} from=${FROM:-1}
own=$(pwd)/${CARGO_TARGET_DIR:-target}
[[ ${CARGO_TARGET_DIR:-} == /* ]] && own=$CARGO_TARGET_DIR
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

# The crash runs need the AWS SDK and more: what was compiled for the tests serves them too.
build() { # PACKAGE WHAT
    local profile=(--release)
    [[ $1 == ringfork-crashes ]] && profile=(--target-dir "$own")
    (cd "$tree" && cargo build "${profile[@]}" --quiet --package "$1") >"$work/log" 2>&1 || {
        cat "$work/log"
        echo "$2: does not compile"
        exit 1
    }
}
play() { # PACKAGE
    case $1 in
    ringfork-crashes) "$own/debug/ringfork-crashes" --runs "$crashes" --from "$from" ;;
    *) "$CARGO_TARGET_DIR/release/$1" --runs "$runs" --from "$from" ;;
    esac
}

missed=0 count=0
patches=()
if [[ $# -gt 0 ]]; then
    for name in "$@"; do
        patches+=(tests/*/mutations/"$name".patch)
    done
else
    patches=(tests/*/mutations/*.patch)
fi

player() { [[ $1 == tests/crashes/* ]] && echo ringfork-crashes || echo ringfork-simulator; }

for package in $(for patch in "${patches[@]}"; do player "$patch"; done | sort --unique); do
    build "$package" "the unchanged tree"
    if ! play "$package" >"$work/log" 2>&1; then
        cat "$work/log"
        echo "the unchanged tree has a fault of its own"
        exit 1
    fi
    echo "unchanged: $(tail -1 "$work/log")"
done

for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    patch --directory "$tree" --strip 1 --silent --no-backup-if-mismatch <"$patch" || {
        echo "$name: the patch does not apply any more"
        exit 1
    }
    package=$(player "$patch")
    build "$package" "$name"
    count=$((count + 1))
    if play "$package" >"$work/log" 2>&1; then
        missed=$((missed + 1))
        echo "$name: MISSED"
    else
        echo "$name: found: $(grep --max-count 1 --extended-regexp 'seed|panicked' "$work/log")"
    fi
    patch --directory "$tree" --strip 1 --silent --reverse --no-backup-if-mismatch <"$patch"
done
echo "$((count - missed)) of $count faults found"
[[ $missed -eq 0 ]]
