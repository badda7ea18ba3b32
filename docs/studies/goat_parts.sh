#!/usr/bin/env bash
# GOAT's parts on GSM8K, one changed at a time: goat_parts.sh MODEL GSM8K_TRAIN OUTPUT PROGRAM (docs/src/methods/goat.md).
# As goat_start.sh, at a rate of 1e-3.
set -euo pipefail
model=$1 data=$2 output=$3 program=$4
mkdir -p "$output"
cat >"$output/run.toml" <<TOML
[model]
path = "$model"
svd_cache = "$output/svd"
[adapter]
preset = "goat-paper"
[data]
train = [{ path = "$data" }]
template = "plain"
max_length = 256
[training]
output_dir = "unset"
learning_rate = 1e-3
max_steps = 80
logging_steps = 1
save_steps = 0
warmup_steps = 8
per_device_train_batch_size = 2
seed = 0
TOML
train() {
    local name=$1
    shift
    "$program" train --config "$output/run.toml" --set "training.output_dir=$output/$name" "$@"
}
train goat
train top-4 --set adapter.router.k=4
train top-1 --set adapter.router.k=1
train all-8 --set adapter.router.k=8
train balance-0 --set adapter.balance_loss.coefficient=0
train balance-0.1 --set adapter.balance_loss.coefficient=0.1
train rho-1 --set adapter.init.rho=1
train rho-100 --set adapter.init.rho=100
train goat-s --set adapter.init.expert_scaling=true
train pissa --set 'adapter.init={ type = "pissa" }'
train milora --set 'adapter.init={ type = "milora" }'
train pissa-milora --set 'adapter.init={ type = "pissa_milora" }'
train goat-mini --set 'adapter.init={ type = "goat_mini" }'
train released --set adapter.preset=goat-released
