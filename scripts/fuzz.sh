#!/usr/bin/env bash
# Fuzzing guided by coverage, of every parser or of those that are named.
#
#   scripts/fuzz.sh [RUNS] [TARGET…]        RUNS executions of each (default 1,000,000); of at most LIMIT
#                                           seconds, where that is set
#
# Works with a stable compiler; needs a compiler of C++ for libFuzzer. The first build takes Burn's
# minutes once more. What is found is in fuzz/artifacts/TARGET; a file that a fix is for goes into
# fuzz/corpus/TARGET, which a test of the workspace gives to the parser again (`--test fuzzed`).
# With MERGE=1 the corpora are made anew instead, of the smallest files that reach what is reached.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
runs=1000000
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    runs=$1
    shift
fi
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
RUSTC_WRAPPER=$PWD/instrument cargo build --bins
# Files are written and read a million times: in memory where that is possible.
memory=/dev/shm
[[ -w $memory ]] || memory=${TMPDIR:-/tmp}
LORA_MOE_FUZZ_FOLDER=$(mktemp -d "$memory/lora-moe-fuzz.XXXXXX")
export LORA_MOE_FUZZ_FOLDER
trap 'rm -rf "$LORA_MOE_FUZZ_FOLDER"' EXIT
# What a command has; threads of its own have less.
ulimit -s 8192
found=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "target/corpus/$target" "artifacts/$target"
    LORA_MOE_FUZZ_SEEDS=target/seeds/$target "target/debug/$target" -runs=0 2>/dev/null
    if [[ -n ${MERGE:-} ]]; then
        new=$(mktemp -d "$LORA_MOE_FUZZ_FOLDER/merge.XXXXXX")
        "target/debug/$target" -set_cover_merge=1 -max_len=2048 "$new" "target/corpus/$target" "target/seeds/$target" \
            "corpus/$target" 2>/dev/null
        # Of each size some: at most 24 files and 4 KiB. Findings, which have names of their own, stay.
        mapfile -t sized < <(find "$new" -type f -printf '%s %p\n' | sort -n)
        find "corpus/$target" -type f -not -name 'found-*' -delete
        total=0
        step=$(((${#sized[@]} + 23) / 24))
        for ((at = step - 1; at < ${#sized[@]}; at += step)); do
            read -r size file <<<"${sized[at]}"
            ((total += size, total <= 4096)) && cp "$file" "corpus/$target/"
        done
        continue
    fi
    log=target/$target.log
    # Of 64 KiB nothing needs a second or, beside the fuzzer's own corpus, half a gigabyte (src/memory.rs).
    if "target/debug/$target" -runs="$runs" -max_total_time="${LIMIT:-0}" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "target/corpus/$target" "corpus/$target" "target/seeds/$target" \
        >"$log" 2>&1; then
        said=passed
    else
        said="FOUND: $(grep -E '^(panicked|memory allocation|==.*ERROR)' "$log" | head -1)"
        found=1
    fi
    executed=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$log")
    reached=$(grep -oE 'cov: [0-9]+' "$log" | tail -1)
    printf '%-18s %9s executions, %s: %s\n' "$target" "${executed:-?}" "$reached" "$said"
done
exit $found
