#!/usr/bin/env bash
# Trains an adapter of each family on a model, and evaluates the model and all of them on three tasks; LoRA also in the harness, as a PEFT adapter:
#   adapters.sh VENV MODEL DATA.json TASKS OUTPUT PROGRAM
# The harness knows no mixtures, so for these there is nothing to compare with.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
venv=$1 model=$2 data=$3 tasks=$4 output=$5 program=$6
names=local_arc_easy,local_winogrande,local_social_iqa
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
mkdir -p "$output"
evaluate() { "$program" eval --model "$model" --include-path "$tasks" --tasks "$names" --limit 100 "$@"; }

evaluate --output "$output/base" >/dev/null
for preset in lora loramoe-paper goat-paper slim; do
    if [ ! -e "$output/$preset/adapter_config.json" ]; then
        "$program" config --preset "$preset" >"$output/$preset.toml"
        "$program" train --config "$output/$preset.toml" --set "model.path=\"$model\"" \
            --set "data.train=[{path=\"$data\",task_type=0}]" --set "training.output_dir=\"$output/$preset\"" \
            --set training.max_steps=40 --set training.learning_rate=0.002 --set data.max_length=256 >/dev/null
    fi
    evaluate --adapter "$output/$preset" --output "$output/scores-$preset"
done
"$program" eval --compare "$output/base" "$output"/scores-* --output "$output/kept" >/dev/null
"$program" convert --adapter "$output/lora" --to peft --output "$output/peft"
cat >"$output/case.json" <<EOF
[{"name": "peft", "tasks": ["${names//,/\", \"}"], "limit": 100}]
EOF
"$venv/bin/python" "$here/run_reference.py" --model "$model" --peft "$output/peft" --include-path "$tasks" \
    --output "$output/reference" --cases "$output/case.json" 2>/dev/null
"$here/run_ours.py" "$output/reference" "$output/ours" --program "$program"
"$venv/bin/python" "$here/compare.py" "$output/reference" "$output/ours" 2>/dev/null
