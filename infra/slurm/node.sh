#!/bin/bash
# One node of the Ray of an allocation: `srun` runs it once on each, the first is the head.
# ray.sh sets what it reads from the environment. It ends when it is told to, and Ray with it.
set -euo pipefail

common=(
    --block
    --log-color=false
    --disable-usage-stats
    --num-cpus="${SLURM_CPUS_PER_TASK:-1}"
    --num-gpus="${SLURM_GPUS_ON_NODE:-0}"
    --include-log-monitor=false
    --object-store-memory="${BRAINPRESS_OBJECT_STORE:-1000000000}"
    --dashboard-agent-listen-port=0 # the fixed one is the first comer's on a node
    --min-worker-port=0
    --max-worker-port=0
)
if ((SLURM_PROCID == 0)); then
    here=(--head --node-ip-address="$BRAINPRESS_HEAD" --port="$BRAINPRESS_PORT"
        --temp-dir="$BRAINPRESS_TEMPORARY/ray" --include-dashboard=false --no-monitor --ray-client-server-port="$BRAINPRESS_CLIENT_PORT")
else
    here=(--address="$BRAINPRESS_HEAD:$BRAINPRESS_PORT")
fi
(umask 077 && mkdir -p "$BRAINPRESS_TEMPORARY") # Ray opens its own folder in it to everybody
trap 'exit 0' TERM
trap 'rm -rf "$BRAINPRESS_TEMPORARY"' EXIT
log="$BRAINPRESS_TEMPORARY/start-$SLURM_PROCID.log"
# Ray gives a node 30 seconds to start, which a busy file system may take for its files alone.
for _ in 1 2 3 4 5; do
    # shellcheck disable=SC2086 # words, or none: what ray.sh says a container needs before a command
    $BRAINPRESS_INSIDE ray start "${here[@]}" "${common[@]}" >"$log" 2>&1 && exit 0
    tail -n 5 "$log" >&2
    if grep -q 'Ray runtime started' "$log"; then
        break # it ran, and died: what ran on it is lost
    fi
done
exit 1
