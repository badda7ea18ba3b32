#!/usr/bin/env bash
# Mutation testing of a fixed sample: each mutant is one small change of the code, and a test of
# its own crate must fail for it.
#
#   scripts/mutants.sh [COUNT] [CRATE…]     about COUNT mutants of each crate (default 15), half as many
#                                           more of `cli`, the command
#
# Left out is what no test of the crate can see: drawings, and what is for GPUs and for MPI alone.
#
# Needs cargo-mutants (`cargo install cargo-mutants --locked`). The changes are made in a copy of the
# checkout in target/mutants, which keeps its builds. Everything is in target/mutants/CRATE/mutants.out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
count=15
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    count=$1
    shift
fi
crates=("$@")
if ((!${#crates[@]})); then
    crates=(adapter-arithmetic adapter-formats balance-loss cli data eval-tasks evaluation finetune fused-ops
        lora-expert model-zoo moe-adapter quantization ranks record-files report router serve study
        svd-init tensor-files)
fi
home=$PWD/target/mutants
tree=$home/tree
mkdir -p "$tree"
# As it is now, with what is not committed; what is the same keeps its time, and what was built of it.
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        cmp -s "$file" "$tree/$file" || install -D --mode 644 "$file" "$tree/$file"
    done
# Not within the repository's workspace, and not ignored by what it ignores.
cd "$tree"
export CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never
unset CARGO_TARGET_DIR
# One package asks for fewer features of what is below Burn than the workspace: without this option of
# Cargo, which is not stable yet, all of Burn would be built again for each crate.
export CARGO_RESOLVER_FEATURE_UNIFICATION=workspace CARGO_UNSTABLE_FEATURE_UNIFICATION=true
export RUSTC_BOOTSTRAP=1
left_out=(
    --exclude 'crates/fused-ops/src/cube/**' --exclude crates/fused-ops/src/ops/device.rs
    --exclude crates/ranks/src/mpi.rs
    --exclude 'crates/study/src/page/figures/**' --exclude 'crates/study/src/demo/page/**'
)
for crate in "${crates[@]}"; do
    folder=$home/$crate
    rm -rf "$folder"
    mkdir -p "$folder"
    # Every n-th of the crate's mutants, in their order in the files: the same on every machine.
    package=$crate wanted=$count tests=(--lib)
    [[ $crate == cli ]] && package=lora-moe-cli wanted=$(((3 * count + 1) / 2)) tests=(--bins)
    all=$(cargo mutants --list --no-config --package "$package" "${left_out[@]}" 2>/dev/null | wc -l)
    every=$((all / wanted > 0 ? all / wanted : 1))
    for test in crates/"$crate"/tests/*.rs; do
        [[ -e $test ]] && tests+=(--test "$(basename "$test" .rs)")
    done
    features=()
    [[ $crate == record-files ]] && features=(--features arrow,gzip,parquet)
    cargo mutants --in-place --no-config --package "$package" "${left_out[@]}" "${features[@]}" \
        --output "$folder" --no-shuffle \
        --shard "$((every / 2))/$every" --sharding round-robin --minimum-test-timeout 60 \
        --caught --unviable -- "${tests[@]}" || (($? == 2 || $? == 3)) || exit
done
printf '\n%-16s %7s %7s %7s %7s\n' crate caught missed timeout unviable
for crate in "${crates[@]}"; do
    out=$home/$crate/mutants.out
    printf '%-16s %7d %7d %7d %7d\n' "$crate" "$(wc -l <"$out/caught.txt")" \
        "$(wc -l <"$out/missed.txt")" "$(wc -l <"$out/timeout.txt")" "$(wc -l <"$out/unviable.txt")"
done
