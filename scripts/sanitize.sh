#!/usr/bin/env bash
# The tests of the kernels under the address sanitizer: reads and writes beyond what was allocated, and
# after it was freed, end them. What is built for it stands beside the usual builds, in target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests=()
for test in crates/fused-ops/tests/*.rs; do
    tests+=(--test "$(basename "$test" .rs)")
done
# Memory that a program keeps until its end, as pools of threads do, is no mistake.
export ASAN_OPTIONS=detect_leaks=0
export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/instrument-asan
# Not by package, which would build all of Burn again, but by the names of its tests.
cargo test --workspace "${tests[@]}" "$@"
