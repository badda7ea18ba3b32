#!/usr/bin/env bash
# GOAT's start and scaling against those of a plain top-2 mixture, on GSM8K: goat_start.sh MODEL GSM8K_TRAIN OUTPUT PROGRAM
# (docs/src/methods/goat.md). Each run is 80 steps of two samples in the same order; OUTPUT/*/metrics.jsonl has the loss of each step.
# RATES and SEEDS name others than those below.
set -euo pipefail
model=$1 data=$2 output=$3 program=$4
mkdir -p "$output"
cat >"$output/run.toml" <<TOML
[model]
path = "$model"
[adapter]
preset = "goat-paper"
[data]
train = [{ path = "$data" }]
template = "plain"
max_length = 256
[training]
output_dir = "unset"
max_steps = 80
logging_steps = 1
save_steps = 0
warmup_steps = 8
per_device_train_batch_size = 2
TOML
for seed in ${SEEDS:-0}; do for rate in ${RATES:-1e-3 3e-4}; do
    train() {
        local name=$1
        shift
        "$program" train --config "$output/run.toml" --set "training.output_dir=$output/$name-$rate-$seed" --set "training.seed=$seed" --set "training.learning_rate=$rate" "$@"
    }
    train random-scaling-2 --set 'adapter.init={ type = "lora" }' --set 'adapter.scaling={ type = "constant", value = 2.0 }'
    train random --set 'adapter.init={ type = "lora" }'
    train goat
done; done
