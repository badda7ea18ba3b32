#!/usr/bin/env bash
# Times training over ranks on this machine: 1 rank with all cores against several with one each.
#
#   benches/ranks.sh MODEL [STEPS]
#
# MODEL is a Hugging Face folder. Needs Open MPI, and a command built with
# `cargo build --release -p lora-moe-cli --features mpi` (LORA_MOE names another).
set -euo pipefail
model=$(realpath "$1")
steps=${2:-12}
command=${LORA_MOE:-$(dirname "${BASH_SOURCE[0]}")/../target/release/lora-moe}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cores=$(nproc)

for i in $(seq 1 96); do
    echo "{\"instruction\": \"Repeat number $i in words, and say what comes after it.\", \"output\": \"It is $i, and after it comes $((i + 1)); after that comes $((i + 2)), and so it goes on.\", \"task_type\": $((i % 2))}"
done >"$work/data.jsonl"
cat >"$work/run.toml" <<EOF
[model]
path = "$model"
[adapter]
preset = "loramoe-paper"
[data]
train = [{ path = "$work/data.jsonl" }]
[training]
output_dir = "unset"
max_steps = $steps
logging_steps = 1
per_device_train_batch_size = 4
gradient_accumulation_steps = 4
EOF

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for ranks in 1 $(seq 2 "$cores" | grep -E '^(2|4|8|16)$'); do
    threads=$((cores / ranks))
    echo "== $ranks ranks of $threads threads"
    RAYON_NUM_THREADS=$threads mpirun --bind-to none -n "$ranks" "$command" train \
        --config "$work/run.toml" --set "training.output_dir=$work/$ranks" 2>&1 |
        grep -E "tokens/s|for sums|error" || true
done
