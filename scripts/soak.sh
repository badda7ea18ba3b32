#!/usr/bin/env bash
# Watches the memory of a training run, of a server that loads an adapter again and again, and of one
# that answers; fails where it grows. Builds the command in release mode unless LORA_MOE_BIN names one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${LORA_MOE_BIN:-} ]]; then
    cargo build --release -p lora-moe-cli
    export LORA_MOE_BIN=$PWD/target/release/lora-moe
fi
LORA_MOE_BIN=$(realpath "$LORA_MOE_BIN") cargo test --workspace --test soak -- --ignored --nocapture
