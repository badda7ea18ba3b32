#!/usr/bin/env bash
# The operations with `unsafe` code under Miri, which sees reads and writes that are not allowed, on few numbers.
#
#   scripts/miri.sh        builds Burn for Miri first; half an hour and more on two cores
#
# Needs `rustup toolchain install nightly --component miri,rust-src`. Miri has no vector instructions: what it
# runs are the portable versions of the kernels, and what is around them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/miri}
# Burn and rayon keep memory until the end, and rayon's queues make references of integers.
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance -Zmiri-ignore-leaks -Zmiri-tree-borrows"
cargo +nightly miri test -p fused-ops --test small "$@"
