#!/usr/bin/env bash
# Fuzzes each parser: tests/fuzz/run.sh [SECONDS] [TARGET...]
# A line per target says how many inputs were run and whether one failed; the exit code is 1 if one did, and the input
# lies in tests/fuzz/artifacts. What was learned stays in tests/fuzz/corpus for the next run.
#
# cargo-fuzz wants nightly for its sanitizers. The code is safe Rust, so none is needed, and RUSTC_BOOTSTRAP lets the
# stable compiler take the coverage flags.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-180}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(sip_datagram sip_stream digest sdp rcml)

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --version 0.13.2
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/target"
fuzz() { cargo fuzz "$1" --fuzz-dir . --sanitizer none "${@:2}"; }

# One build for all targets.
fuzz build >/dev/null
failed=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    inputs=("corpus/$target" "seeds/$target")
    torture=../../../shared/sip-torture
    if [[ $target == sip_* && -d $torture ]]; then
        inputs+=("$torture/rfc4475" "$torture/rfc5118")
    fi
    log="target/$target.log"
    outcome=ok
    fuzz run "$target" "${inputs[@]}" -- -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=1 >"$log" 2>&1 || { outcome="FAILED, see $PWD/$log"; failed=1; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    slowest=$(sed -n 's/^stat::slowest_unit_time_sec: *//p' "$log" | tail -1)
    echo "$target: ${runs:-?} inputs in ${seconds} s, slowest ${slowest:-?} s, $outcome"
done
exit $failed
