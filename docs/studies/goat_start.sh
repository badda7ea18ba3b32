#!/usr/bin/env bash
# GOAT's start and scaling against those of a plain top-2 mixture, on GSM8K: goat_start.sh MODEL GSM8K_TRAIN OUTPUT PROGRAM
# (docs/src/methods/goat.md). Each run is 80 steps of two samples in the same order; OUTPUT/*/metrics.jsonl has the loss of each step.
# RATES and SEEDS name others than those below.
set -euo pipefail
model=$1 data=$2 output=$3 program=$4
config=$(dirname "${BASH_SOURCE[0]}")/goat_gsm8k.toml
for seed in ${SEEDS:-0}; do
    for rate in ${RATES:-1e-3 3e-4}; do
        train() {
            local name=$1
            shift
            "$program" train --config "$config" --set "model.path=$model" --set "data.train=[{ path = \"$data\" }]" \
                --set "training.output_dir=$output/$name-$rate-$seed" --set "training.seed=$seed" \
                --set "training.learning_rate=$rate" "$@"
        }
        train random-scaling-2 --set 'adapter.init={ type = "lora" }' --set 'adapter.scaling={ type = "constant", value = 2.0 }'
        train random --set 'adapter.init={ type = "lora" }'
        train goat
    done
done
