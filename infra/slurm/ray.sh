# For a batch script to source: `on_ray COMMAND...` runs COMMAND on a Ray that spans the allocation
# and ends with it. The Ray is this job's alone: its own port, temporary folder and token.
#
# Read from the environment, all optional:
#   BRAINPRESS_IMAGE    an Apptainer image (infra/slurm/brainpress.def); else what PATH has
#   BRAINPRESS_BIND     folders that the image shall see, as `apptainer --bind` takes them
#   BRAINPRESS_HEAD     the first node's address, where several networks reach it
#   BRAINPRESS_PATIENCE seconds to wait for all nodes' Ray (300)
#   BRAINPRESS_RESTARTS how often a job whose time is up goes back into the queue (20)
# shellcheck shell=bash

on_ray() {
    _own_ray
    local code=0
    # In sessions of their own, Ray and the command: SLURM tells the whole process group of this script
    # that time is nearly up, and without its Ray a command could not end well.
    setsid srun --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 \
        bash "${BRAINPRESS_SLURM:-$SLURM_SUBMIT_DIR/infra/slurm}/node.sh" &
    _ray=$!
    _command=
    _told=
    trap _tell_command TERM
    if _await_nodes; then
        _patiently "$@" || code=$?
        kill -0 "$_ray" 2>/dev/null || _told="by its Ray, which died"
    else
        code=1
    fi
    _end_ray
    if [[ -n $_told ]] && _was_stopped "$code" && _may_go_on; then
        echo "$(date -Is) ended early, $_told: job $SLURM_JOB_ID goes back into the queue, and then on"
        scontrol requeue "$SLURM_JOB_ID"
        sleep 60 # until SLURM ends this script, which is no failure of the job
    fi
    exit "$code"
}

# Ends Ray on every node, and lets it put away its folder: told itself, srun would kill it.
_end_ray() {
    local second
    scancel --signal=TERM "$SLURM_JOB_ID.0" 2>/dev/null || true
    for ((second = 0; second < 30; second++)); do
        kill -0 "$_ray" 2>/dev/null || break
        sleep 1
    done
    kill -TERM "$_ray" 2>/dev/null || true
    wait "$_ray" 2>/dev/null || true
    rm -rf "$BRAINPRESS_TEMPORARY"
}

# What makes this job's Ray its own; node.sh and Ray read it.
_own_ray() {
    BRAINPRESS_INSIDE=
    if [[ -n ${BRAINPRESS_IMAGE:-} ]]; then
        BRAINPRESS_INSIDE="apptainer exec --nv ${BRAINPRESS_BIND:+--bind $BRAINPRESS_BIND} $BRAINPRESS_IMAGE"
    fi
    BRAINPRESS_HEAD="${BRAINPRESS_HEAD:-$(_address)}"
    read -r BRAINPRESS_PORT BRAINPRESS_CLIENT_PORT < <(_inside python3 -c 'import socket
free = [socket.socket() for _ in range(2)]
for one in free:
    one.bind(("", 0))
print(*(one.getsockname()[1] for one in free))')
    # Short, for the path of a socket in it has at most 107 bytes.
    BRAINPRESS_TEMPORARY="/tmp/brainpress-$SLURM_JOB_ID"
    rm -rf "$BRAINPRESS_TEMPORARY" # of a run of this job that was cut off here
    RAY_AUTH_MODE=token
    RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
    RAY_ADDRESS="$BRAINPRESS_HEAD:$BRAINPRESS_PORT"
    export BRAINPRESS_INSIDE BRAINPRESS_HEAD BRAINPRESS_TEMPORARY
    export BRAINPRESS_PORT BRAINPRESS_CLIENT_PORT
    export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_ADDRESS PYTHONUNBUFFERED=1
    export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # nobody is left to be waited for
    export RAY_worker_niceness=0           # the nodes are this job's alone
}

# This node's IPv4 address: of the name that SLURM knows it by, else of its own, but not loopback.
_address() {
    local name found
    for name in "$SLURMD_NODENAME" "$(hostname)"; do
        found="$(getent ahostsv4 "$name" | awk '$1 !~ /^127\./ { print $1; exit }')" || true
        if [[ -n $found ]]; then
            echo "$found"
            return
        fi
    done
    found="$(hostname -I | awk '{ print $1 }')"
    echo "${found:-127.0.0.1}"
}

_inside() {
    # shellcheck disable=SC2086 # words, or none
    $BRAINPRESS_INSIDE "$@"
}

# Until each node of the allocation has joined. Without all of them it goes on with those there are.
_await_nodes() {
    RAY_BACKEND_LOG_LEVEL=fatal _patiently python3 - \
        "$SLURM_JOB_NUM_NODES" "${BRAINPRESS_PATIENCE:-300}" "$_ray" <<'PYTHON'
import logging, os, socket, sys, time

wanted, until, ray_step = int(sys.argv[1]), time.monotonic() + float(sys.argv[2]), sys.argv[3]
host, _, port = os.environ["RAY_ADDRESS"].rpartition(":")
here, there = 0, {}
while here < wanted and time.monotonic() < until and os.path.exists(f"/proc/{ray_step}"):
    time.sleep(1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        continue
    import ray

    try:
        if not ray.is_initialized():
            ray.init(logging_level=logging.CRITICAL, log_to_driver=False)
        here, there = sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources()
    except Exception:  # it answers, and is not ready
        ray.shutdown()
print(f"Ray: {here} of {wanted} nodes, {there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs")
sys.exit(not here)
PYTHON
}

# Runs a command and hands SLURM's signal on to it: bash itself acts on one only between commands.
_patiently() {
    local code=0
    # shellcheck disable=SC2086 # words, or none
    (exec setsid $BRAINPRESS_INSIDE "$@") <&0 & # its own process, and no shell's before it
    _command=$!
    while true; do
        code=0
        wait "$_command" || code=$?
        kill -0 "$_command" 2>/dev/null || break # else a signal ended the wait, not the command
    done
    _command=
    return "$code"
}

_tell_command() {
    _told="by SLURM"
    if [[ -n $_command ]]; then
        kill -TERM "$_command" 2>/dev/null || true
    fi
}

# Whether a command's exit code says that it can go on: 1 and 2 are for a person, unless its Ray died.
_was_stopped() {
    (($1 != 0 && $1 != 2)) && { (($1 != 1)) || [[ $_told != "by SLURM" ]]; }
}

# Whether the job was told because its time is nearly up: `scancel` tells it with the same signal.
_may_go_on() {
    if ((${SLURM_RESTART_COUNT:-0} >= ${BRAINPRESS_RESTARTS:-20})); then
        echo "job $SLURM_JOB_ID went on ${SLURM_RESTART_COUNT:-0} times: submit it again if it gets on"
        return 1
    fi
    [[ $(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T 2>/dev/null) == RUNNING ]]
}
