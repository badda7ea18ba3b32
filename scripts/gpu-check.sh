#!/usr/bin/env bash
# What this project does on a GPU, in a quarter of an hour: exact or not, and how fast beside PyTorch.
#
#   scripts/gpu-check.sh build [--device cuda] [--bundle FOLDER] [FEATURE…]
#       builds the command, once more with each FEATURE (autotune, fusion), and the golden suite, into FOLDER (gpu-bundle)
#   scripts/gpu-check.sh [--device cuda] [--bundle FOLDER] [--minutes 15] [--python PYTHON] [--model FOLDER] [--output FOLDER]
#       runs what is in the bundle; PYTHON has torch, and is left out where there is none
#
# Parts, the most telling first: losses of the device against the CPU's; the golden suite; training steps of a Llama of 29.5
# million parameters and of Llama 3.2 1B's shape, random weights, in f32, tf32 and bf16, each beside PyTorch; the bundle's
# other programs; generation, where a MODEL is given. Each has a time limit, and none begins after MINUTES. OUTPUT
# (gpu-check) has results.md and results.jsonl, written line by line, so that what was measured is there whenever it is cut.
# The golden suite finds its cases beside the sources that it was built from. On `flex` the script tries itself out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
device=cuda bundle=gpu-bundle minutes=15 python=python3 model= output=gpu-check steps=${STEPS:-10}
action=run
if [[ ${1:-} == build ]]; then
    action=build
    shift
fi
features=()
while (($#)); do
    case $1 in
        --device | --bundle | --minutes | --python | --model | --output)
            (($# > 1)) || { echo "$1 needs a value" >&2; exit 2; }
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        autotune | fusion) features+=("$1") && shift ;;
        *) echo "unknown: $1; the head of this file says what there is" >&2 && exit 2 ;;
    esac
done
backend=${device%%:*}

if [[ $action == build ]]; then
    set -e
    mkdir -p "$bundle"
    with() { [[ $backend == flex ]] && echo "${1:+--features $1}" || echo "--features $backend${1:+,$1}"; }
    for feature in '' "${features[@]}"; do
        # shellcheck disable=SC2046
        cargo build --release -p lora-moe-cli $(with "$feature")
        install "${CARGO_TARGET_DIR:-target}/release/lora-moe" "$bundle/lora-moe${feature:+-$feature}"
    done
    suite=(golden golden_models golden_encoders)
    # shellcheck disable=SC2046
    cargo test --release --workspace $(with '' | sed "s/$backend/lora-moe\/$backend/") "${suite[@]/#/--test=}" --no-run \
        --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\/\(golden[a-z_]*\)-[0-9a-f]*\)".*/\1 \2/p' |
        while read -r from name; do install "$from" "$bundle/$name"; done
    ls -l "$bundle"
    exit
fi

program=$bundle/lora-moe
[[ -x $program ]] || { echo "$program is not there; scripts/gpu-check.sh build makes it" >&2; exit 2; }
mkdir -p "$output"
lines=$output/results.jsonl table=$output/results.md
: >"$lines"
say() { printf '%s\n' "$*" | tee -a "$table"; }
left() { echo $((minutes * 60 - SECONDS)); }
field() { sed -n "s/.*\"$1\": \{0,1\}\"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$2" | head -n 1; }

# part LIMIT NAME COMMAND…: runs within LIMIT seconds and what is left; $found is the JSON that it printed, $why why it failed.
part() {
    local limit=$1 name=$2 started=$SECONDS rc=0
    shift 2
    found='' why=''
    if (($(left) < 10)); then
        why='no time left'
    else
        ((limit < $(left))) || limit=$(left)
        timeout -k 5 "$limit" "$@" >"$output/$name.log" 2>"$output/$name.err" || rc=$?
        found=$(grep -a '^{.*}$' "$output/$name.log" | tail -n 1)
        case $rc in
            0) ;;
            124 | 137) why="cut after $limit s" ;;
            *) why="exit status $rc: $(grep -am 1 . "$output/$name.err" | tr -d '"\\' | cut -c 1-160)" ;;
        esac
    fi
    printf '{"part":"%s","seconds":%d,"failed":"%s","result":%s}\n' \
        "$name" $((SECONDS - started)) "$why" "${found:-null}" >>"$lines"
}

# The most device memory in use during a part, MiB, as nvidia-smi sees it each second; nothing without it.
watch_memory() {
    : >"$output/memory"
    command -v nvidia-smi >/dev/null || return 0
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -l 1 >"$output/memory" 2>/dev/null &
    watcher=$!
}
most_memory() {
    [[ -z ${watcher:-} ]] || kill "$watcher" 2>/dev/null
    watcher=''
    sort -n "$output/memory" | tail -n 1
}
trap 'most_memory >/dev/null; rm -f "$output/memory"' EXIT

# llama NAME HIDDEN LAYERS INTERMEDIATE VOCABULARY HEADS KV_HEADS: a config.json; heads of 64.
llama() {
    printf '{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":%d,"num_hidden_layers":%d,"intermediate_size":%d,"vocab_size":%d,"num_attention_heads":%d,"num_key_value_heads":%d,"max_position_embeddings":4096,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":false}\n' \
        "${@:2}" >"$output/$1.json"
}
llama tiny 128 2 352 1024 2 2
llama base 512 8 1376 4096 8 8
llama 1b 2048 16 8192 128256 32 8

: >"$table"
say "# lora-moe on $device"
say
say "$("$program" --version), $(date -u +%F); $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"
pytorch=$("$python" -c 'import torch; print("PyTorch", torch.__version__)' 2>/dev/null)
say "${pytorch:-no PyTorch: nothing to compare with}"

bench() { # PROGRAM DEVICE CONFIG PRESET PRECISION BATCH LENGTH STEPS
    "$1" bench train --device "$2" --config "$output/$3.json" --random-init --preset "$4" --precision "$5" \
        --batch-size "$6" --seq-len "$7" --steps "$8" --warmup 2 --json
}
torch() { # METHOD SIZE PRECISION BATCH LENGTH STEPS
    local dtype=float32 on=$backend
    [[ $3 == bf16 ]] && dtype=bfloat16
    [[ $backend == flex ]] && on=cpu
    "$python" benches/pytorch/train_step.py --method "$1" --size "$2" --dtype "$dtype" --batch-size "$4" --seq-len "$5" \
        --steps "$6" --device "$on" $([[ $3 != tf32 ]] || echo --tf32)
}
export -f bench torch
export output python backend

say && say '## Losses against the CPU' && say
say 'The loss of the third step in f32, the same random weights and tokens; 1e-4 of its value is what the golden suite allows a device.'
say && say '| method | CPU | device | relative difference | |' && say '|---|---:|---:|---:|---|'
for preset in lora loramoe-paper goat-released slim mixlora; do
    part 60 "cpu-$preset" bash -c "bench $program flex tiny $preset f32 2 64 1"
    on_cpu=$(field loss "$found")
    part 90 "loss-$preset" bash -c "bench $program $device tiny $preset f32 2 64 1"
    on_device=$(field loss "$found")
    if [[ $on_cpu && $on_device ]]; then
        say "$(awk -v m="$preset" -v a="$on_cpu" -v b="$on_device" 'BEGIN {
            d = (a > b ? a - b : b - a) / a
            printf "| `%s` | %.6f | %.6f | %.1e | %s |", m, a, b, d, d < 1e-4 ? "equal" : "**not equal**" }')"
    else
        say "| \`$preset\` | $on_cpu | $on_device | | $why |"
    fi
done

say && say '## The golden suite' && say
for suite in golden golden_models golden_encoders; do
    if [[ ! -x $bundle/$suite ]]; then
        say "- $suite: not in the bundle"
        continue
    fi
    LORA_MOE_DEVICE=$device part 180 "$suite" "$bundle/$suite" --nocapture
    say "- $suite: $(grep -a '^test result' "$output/$suite.log" | tail -n 1) $why"
done

say && say '## Training steps' && say
say 'Tokens a second; launches of a step; the most device memory, MiB. `base` is a Llama of 29.5 million parameters at 4 x 256'
say 'tokens, `1b` has the shape of Llama 3.2 1B at 4 x 1024; the adapters are on the feed-forward linears. Beside'
say 'MixLoRA, whose experts are whole blocks, PyTorch runs a plain mixture of the two best of eight.'
say && say '| model | method | precision | program | tokens/s | launches | memory | PyTorch | ratio | |' && say '|---|---|---|---|---:|---:|---:|---:|---:|---|'
step() { # PROGRAM SIZE PRESET METHOD PRECISION LENGTH LIMIT
    local name
    name=$(basename "$1")
    watch_memory
    part "$7" "$name-$2-$3-$5" bash -c "bench $1 $device $2 $3 $5 4 $6 $steps"
    local memory ours launches failed=$why theirs=''
    memory=$(most_memory) ours=$(field tokens_per_s "$found") launches=$(field kernel_launches "$found")
    if [[ $pytorch && $4 != - ]]; then
        part "$7" "torch-$2-$4-$5" bash -c "torch $4 $2 $5 4 $6 $steps"
        theirs=$(field tokens_per_s "$found")
        failed=${failed:-${why:+PyTorch: $why}}
    fi
    say "$(awk -v a="$ours" -v b="$theirs" -v row="| $2 | \`$3\` | $5 | $name |" -v l="$launches" -v m="$memory" -v f="$failed" 'BEGIN {
        printf "%s %s | %s | %s | %s | %s | %s |", row, a ? int(a) : "", l, m, b ? int(b) : "", a && b ? sprintf("%.2f", a / b) : "", f }')"
}
# Random weights are f32, which a CPU multiplies as they are.
precisions=(f32 tf32 bf16)
[[ $backend == flex ]] && precisions=(f32)
for size in base:256:60 1b:1024:120; do
    IFS=: read -r size length limit <<<"$size"
    [[ $size == 1b && $backend == flex ]] && continue
    for precision in "${precisions[@]}"; do
        step "$program" "$size" loramoe-paper loramoe "$precision" "$length" "$limit"
        step "$program" "$size" lora lora "$precision" "$length" "$limit"
        [[ $size == base ]] && step "$program" "$size" mixlora top2 "$precision" "$length" "$limit"
    done
    for other in "$program"-*; do
        [[ -x $other ]] && step "$other" "$size" loramoe-paper - f32 "$length" "$limit"
    done
done

say && say '## Kernels of a step' && say
part 60 kernels bash -c "bench $program $device base loramoe-paper f32 4 256 1"
kernels=$(sed -n 's/.*"kernels": \{0,1\}{\([^}]*\)}.*/\1/p' <<<"$found" | tr ',' '\n' | sort -t: -k2 -nr | head -n 12)
say "${kernels:-not counted in this build}"

if [[ $model ]]; then
    say && say '## Generation' && say
    for precision in "${precisions[@]}"; do
        part 90 "generate-$precision" "$program" bench generate --device "$device" --config "$model" --precision "$precision" --json
        say "- $precision: ${found:-$why}"
    done
fi
say && say "All of it took $SECONDS s; logs are in \`$output\`."
