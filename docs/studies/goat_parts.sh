#!/usr/bin/env bash
# GOAT's parts on GSM8K, one changed at a time: goat_parts.sh MODEL GSM8K_TRAIN OUTPUT PROGRAM (docs/src/methods/goat.md).
# As goat_start.sh, at a rate of 1e-3.
set -euo pipefail
model=$1 data=$2 output=$3 program=$4
config=$(dirname "${BASH_SOURCE[0]}")/goat_gsm8k.toml
train() {
    local name=$1
    shift
    "$program" train --config "$config" --set "model.path=$model" --set "data.train=[{ path = \"$data\" }]" \
        --set "model.svd_cache=$output/svd" --set "training.output_dir=$output/$name" "$@"
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
