#!/usr/bin/env bash
# Measures this build beside Kamailio and rtpengine in the same run: the server on CPU 0, the load on CPU 1.
# SCALE multiplies the calls, STREAMS is how many streams of sound are up at once.
set -euo pipefail
cd "$(dirname "$0")/../.."
for command in kamailio=kamailio rtpengine=rtpengine-daemon taskset=util-linux; do
    command -v "${command%%=*}" >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${command#*=}" >/dev/null; }
done
cargo build --release -q --bin ringfork --bin bench --bin streams
programs=${CARGO_TARGET_DIR:-target}/release
taskset -c 1 "$programs/bench" "${SCALE:-1}"
taskset -c 1 "$programs/streams" "${STREAMS:-300}"
