#!/usr/bin/env bash
# Measures this build beside Kamailio in the same run: the server on CPU 0, the load on CPU 1. SCALE multiplies the load.
set -euo pipefail
cd "$(dirname "$0")/../.."
for command in kamailio=kamailio taskset=util-linux; do
    command -v "${command%%=*}" >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${command#*=}" >/dev/null; }
done
cargo build --release -q --bin ringfork --bin bench
exec taskset -c 1 "${CARGO_TARGET_DIR:-target}/release/bench" "${SCALE:-1}"
