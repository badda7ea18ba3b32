#!/usr/bin/env bash
# A SLURM of one machine with two nodes: sets it up, runs a study on it while one node and then the
# other is killed, compares with the same study run alone, and takes it down.
#
#   benches/slurm/run.sh [COMMAND]
#
# Needs root, and slurmctld, slurmd, slurm-client and munge of Debian. COMMAND is the lora-moe to run.
set -euo pipefail
command=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/../../target/debug/lora-moe}")
work=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
# Only what was started here is ended.
pids=()

stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    sleep 1
    for pid in "${pids[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [[ ${KEEP:-} ]] || rm -rf "$work"
}
trap stop EXIT

mkdir -p "$work"/{state,node1,node2,log} /run/munge
chown munge:munge /run/munge
[[ -s /etc/munge/munge.key ]] || { mungekey --create && chown munge:munge /etc/munge/munge.key; }
runuser -u munge -- munged --foreground --socket "$work/munge.socket" --pid-file "$work/munged.pid" \
    --log-file "$work/munged.log" --seed-file "$work/munged.seed" --force >/dev/null 2>&1 &
pids+=($!)
chmod 777 "$work"

cat >"$SLURM_CONF" <<EOF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd-%n.pid
SlurmdSpoolDir=$work/%n
StateSaveLocation=$work/state
SlurmctldLogFile=$work/log/slurmctld.log
SlurmdLogFile=$work/log/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=2
RequeueExit=1
JobRequeue=1
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16821 CPUs=1 State=UNKNOWN
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16822 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=60 State=UP
EOF

start_node() {
    slurmd -D -N "$1" >"$work/log/$1.out" 2>&1 &
    pids+=($!)
    node_pid=$!
}

slurmctld -D >"$work/log/slurmctld.out" 2>&1 &
pids+=($!)
declare -A nodes
for node in node1 node2; do
    start_node "$node"
    nodes[$node]=$node_pid
done
for _ in $(seq 60); do
    [[ $(sinfo --noheader --states=idle --format=%D 2>/dev/null) == 2 ]] && break
    sleep 1
done
sinfo

cat >"$work/study.toml" <<'EOF'
seeds = [0, 1]
samples = [64, 160]
learning_rates = [1e-3, 4e-3]
search_samples = 64
cost = false
save_steps = 2
[demo]
world = { entities = 8 }
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
pretraining_steps = 20
pretraining_batch_size = 8
batch_size = 16
inputs_per_task = 2
[[methods]]
name = "LoRA"
preset = "lora"
adapter = { r = 8 }
[[methods]]
name = "LoRAMoE"
preset = "loramoe-paper"
adapter = { num_experts = 4 }
[[methods]]
name = "full"
preset = "full"
equal_parameters = false
learning_rate = 1e-3
EOF
files=(--config "$work/study.toml")
study() { "$command" study "$@"; }
# How many files of results there are.
finished() { { find "$work/cluster" -path '*/search/*.json' -o -path '*/runs/*.json' 2>/dev/null || true; } | wc -l; }

echo "== alone"
study "${files[@]}" --output "$work/alone" >/dev/null 2>&1
# Ends the daemon of a node and what runs on it, and starts the daemon again.
kill_node() {
    local node=$1 job step
    job=$(squeue --noheader --nodelist="$node" --format=%A | head -1)
    echo "killing $node and what runs on it, job ${job:-none}, after $(finished) files; kept of runs in progress: $(kept)"
    kill -9 "${nodes[$node]}"
    # The daemons of a job's steps outlive the node's, and have what they run as children.
    for step in ${job:+$(pgrep -f "^slurmstepd: \[$job\.")}; do
        pkill -9 -P "$step" || true
        kill -9 "$step" || true
    done
    sleep 3
    start_node "$node"
    nodes[$node]=$node_pid
}
# The checkpoints of runs in progress.
kept() { (cd "$work/cluster/checkpoints" 2>/dev/null && ls -d ./*/checkpoint-* 2>/dev/null || true) | tr '\n' ' '; }

echo "== on two nodes, which are killed in turn"
started=$SECONDS
id=$(study submit "${files[@]}" --output "$work/cluster" --jobs 2 --lease 5 --workers 1)
for round in "node1 4" "node2 8"; do
    read -r node files_then <<<"$round"
    for _ in $(seq 600); do
        (($(finished) >= files_then)) && break
        sleep 0.1
    done
    study status "${files[@]}" --output "$work/cluster" --lease 5
    kill_node "$node"
done
for _ in $(seq 240); do
    [[ -z $(squeue --noheader --jobs="$id" 2>/dev/null) ]] && break
    sleep 1
done
echo "== $((SECONDS - started)) s"
study status "${files[@]}" --output "$work/cluster" --lease 5
grep -ho '.*goes on from.*' "$work"/cluster/slurm/*.log || true
study report "${files[@]}" --output "$work/cluster" >/dev/null
# Sums of routing may differ in their last digit from process to process.
if paste -d, "$work/alone/summary.csv" "$work/cluster/summary.csv" | awk -F, '
    { for (i = 1; i <= NF / 2; i++) {
        a = $i; b = $(i + NF / 2); d = a - b
        if (a != b && (d > 1e-9 || d < -1e-9 || a + 0 == 0)) { print "line " NR ": " a " " b; bad = 1 }
        else if (a != b) last++
    } } END { print "== " NR " lines, numbers that differ in their last digits: " last + 0; exit bad }'; then
    echo "== the same summary as alone"
else
    echo "== the summaries differ" >&2
    exit 1
fi
id=$(study submit "${files[@]}" --output "$work/cancelled" --jobs 2)
study cancel "${files[@]}" --output "$work/cancelled"
sleep 2
squeue --noheader --jobs="$id" 2>/dev/null | grep -v CG || echo "== cancelled"
