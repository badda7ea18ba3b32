#!/usr/bin/env bash
# Times the harness's `hf` model at several batch sizes and `lora-moe eval` on the cases of speed.json, on two threads:
#   speed.sh VENV MODEL TASKS OUTPUT PROGRAM [BATCH_SIZE...]
# Run it on a machine that does nothing else. The harness's seconds leave out the loading of the model and the start of Python; ours are those of the
# whole process.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
venv=$1 model=$2 tasks=$3 output=$4 program=$5
shift 5
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 RAYON_NUM_THREADS=2
for size in ${@:-1 4 8}; do
    "$venv/bin/python" "$here/run_reference.py" --model "$model" --include-path "$tasks" --output "$output/hf-$size" \
        --cases "$here/speed.json" --threads 2 --batch-size "$size" 2>/dev/null
    for case in "$output/hf-$size"/*/; do
        echo "hf, batch size $size: $(basename "$case") $("$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["seconds"])' "$case/command.json") s"
    done
done
rm -rf "$output/ours"
"$here/run_ours.py" "$output/hf-$size" "$output/ours" --program "$program" | sed 's/^/lora-moe: /'
