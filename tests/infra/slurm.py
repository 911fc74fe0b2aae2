"""The SLURM scripts on a real SLURM: munged, slurmctld and two slurmd on this machine, each with
two GPUs in name. By hand, for it needs root and takes a quarter of an hour:

    apt-get install slurm-wlm munge && python -m tests.infra.slurm

A release is printed by a job whose time is up before it is done; it goes back into the queue and
on, until it is complete, and is then byte for byte the one that was made at once, without SLURM. A
job that is cancelled stays so, and one with a wrong option fails. Nothing is left in /tmp.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ROOT
from tests.e2e.running import environment, files, generate, parts, tiny_model
from tests.e2e.running import job as cli_job
from tests.e2e.training import checkpoints
from tests.ports import free_ports

SCRIPTS = ROOT / "infra" / "slurm"
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=try
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
SlurmdParameters=config_overrides
FirstJobId={first}
KillWait=10
ReturnToService=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=8000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=8000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES State=UP
"""


@contextmanager
def slurm() -> Iterator[Path]:
    """A SLURM of its own, in an empty folder; its clients find it by SLURM_CONF."""
    folder = Path(tempfile.mkdtemp(prefix="bp-slurm-"))
    folder.chmod(0o755)  # munged refuses a folder that is closed to others
    (folder / "state").mkdir()
    devices = folder / "gpu"
    devices.mkdir()
    for number in range(2 * len(NODES)):
        (devices / f"gpu{number}").touch()
    gres = "NodeName={} Name=gpu File={}/gpu[{}-{}]\n"
    (folder / "gres.conf").write_text(
        "".join(gres.format(name, devices, 2 * n, 2 * n + 1) for n, name in enumerate(NODES))
    )
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder, host=os.uname().nodename, ports=free_ports(3), first=os.getpid()
        )
    )
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    running = [munge(folder / "munge"), daemon("slurmctld", folder)]
    try:
        wait_until(lambda: "n1" in said("sinfo", "-N", "-h"), "slurmctld", 30)
        running += [daemon("slurmd", folder, "-N", name) for name in NODES]
        wait_until(lambda: said("sinfo", "-h", "-o", "%T").split() == ["idle"], "slurmd", 60)
        yield folder
    finally:
        said("scancel", "--user=root")
        wait_until(lambda: not said("squeue", "-h"), "the jobs' end", 60)
        for process in reversed(running):
            process.terminate()
            process.wait()
        shutil.rmtree(folder)


def munge(folder: Path) -> subprocess.Popen[bytes]:
    """A munged with a key of its own."""
    folder.mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    paths = [f"--{name}-file={folder}/{name}" for name in ("key", "pid", "log", "seed")]
    words = ["munged", "--foreground", f"--socket={folder}/socket", *paths]
    return subprocess.Popen(words, stderr=(folder / "err").open("wb"))


def daemon(name: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """One of SLURM's, in the foreground of its own log."""
    log = (folder / f"{name}{''.join(options)}.log").open("wb")
    return subprocess.Popen([name, "-D", *options], stdout=log, stderr=log)


def said(*words: str) -> str:
    """What a client of SLURM prints; nothing where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def wait_until(
    condition: Callable[[], object], what: str, seconds: float, log: Path | None = None
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        told = "" if log is None else f":\n{log.read_text()}"
        assert time.monotonic() < deadline, f"waited in vain for {what}{told}"
        time.sleep(1)


def submit(log: Path, options: list[str], batch: str, *words: object) -> str:
    """Submit one of the scripts as on the page, from the checkout's root; the job's number."""
    here = environment({"PYTHONPATH": str(ROOT), "SLURM_CONF": os.environ["SLURM_CONF"]})
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        del here[name]
    here["PATH"] = f"{Path(sys.executable).parent}:{here['PATH']}"
    shared = ["--parsable", "--mem=3G", "--cpus-per-task=2", f"--output={log}"]
    command = ["sbatch", *shared, *options, str(SCRIPTS / batch), *map(str, words)]
    done = subprocess.run(command, env=here, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def field(job: str, name: str) -> str:
    """`JobState`, `Restarts` and their like, as SLURM has them of a job."""
    for word in said("scontrol", "show", "job", job).split():
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


def ended(job: str, minutes: float) -> str:
    """How a job ended, its restarts counted in."""
    ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    wait_until(lambda: field(job, "JobState") in ends, f"job {job}", 60 * minutes)
    return field(job, "JobState")


def cut_short(job: str) -> None:
    """Let a job's time be up in 40 to 100 seconds; SLURM tells it 60 before."""
    hours, minutes, seconds = (int(part) for part in field(job, "RunTime").split(":"))
    limit = 60 * hours + minutes + (1 if seconds < 20 else 2)
    said("scontrol", "update", f"JobId={job}", f"TimeLimit={limit}")


def printing(out: Path, n: int) -> list[object]:
    """The options of a small release."""
    model = out / "model"
    if not model.exists():
        tiny_model(model)
    drawn = ["--steps", 20, "--shard-size", 4, "--quality", "off", "--device", "cpu"]
    drawn += ["--grace", 15]
    return ["--n", n, "--model", model, *drawn]


LIMIT = ["--time=30", "--signal=B:TERM@60", "--gpus-per-node=1"]


def time_is_up(out: Path, n: int) -> None:
    """A job whose time is up goes on by itself, and makes the bytes of one that was not cut off."""
    log, options = out / "cut.log", printing(out, n)
    job = submit(log, LIMIT, "generate.sbatch", *options, "--out", out / "cut")
    wait_until(lambda: len(parts(out / "cut")) > 3, "the first shards", 1200)
    cut_short(job)
    wait_until(lambda: field(job, "Restarts") == "1", "its going back into the queue", 300, log)
    print(f"{len(parts(out / 'cut'))} of {n // 4} shards are done where its time was up")
    said("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    state = ended(job, 30)
    print(log.read_text())
    print(f"job {job}: {state} after {field(job, 'Restarts')} restarts")
    assert (state, field(job, "Restarts")) == ("COMPLETED", "1"), "done before: a larger --n"
    assert "stopped by SIGTERM; " in log.read_text(), "the driver was not told"
    done = at_once(*options, "--out", out / "whole")
    assert done.returncode == 0, done.stderr
    assert files(out / "cut") == files(out / "whole")
    print(f"byte for byte the release made at once: {len(files(out / 'whole'))} files")


def at_once(*words: object) -> subprocess.CompletedProcess[str]:
    """Without SLURM. Ray gives itself 30 seconds to start, and a busy machine may need longer."""
    for _ in range(5):
        done = generate(*words)
        if "timed out during startup" not in done.stderr:
            break
    return done


def cancelled(out: Path, n: int) -> None:
    """A job that somebody cancels does not come back."""
    log = out / "cancelled.log"
    words = [*printing(out, n), "--out", out / "cancelled"]
    job = submit(log, LIMIT, "generate.sbatch", *words)
    wait_until(lambda: log.exists() and "Ray: 1 of 1" in log.read_text(), "its Ray", 600)
    said("scancel", job)
    print(f"job {job}: {ended(job, 5)} after {field(job, 'Restarts')} restarts")
    assert (field(job, "JobState"), field(job, "Restarts")) == ("CANCELLED", "0")


def wrong(out: Path, n: int) -> None:
    """A wrong option fails the job, once, with brainpress's own exit code."""
    log = out / "wrong.log"
    job = submit(log, LIMIT, "generate.sbatch", *printing(out, -1), "--out", out / "wrong")
    print(f"job {job}: {ended(job, 10)}, {field(job, 'ExitCode')}: {log.read_text()}")
    assert (field(job, "JobState"), field(job, "ExitCode")) == ("FAILED", "2:0")


WHERE = """
import os, ray
ray.init(logging_level="ERROR", log_to_driver=False)
@ray.remote(num_gpus=1, num_cpus=0)
def where():
    return os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"]
spread = where.options(scheduling_strategy="SPREAD")
print("GPUS", sorted(ray.get([spread.remote() for _ in range(2)])))
"""


def nodes(out: Path, n: int) -> None:
    """One Ray over both nodes, with the GPU of each that SLURM gave."""
    log, batch = out / "nodes.log", out / "nodes.sbatch"
    (out / "where.py").write_text(WHERE)
    source = f"#!/bin/bash\nsource {SCRIPTS}/ray.sh\non_ray python3 {out}/where.py\n"
    batch.write_text(source)
    job = submit(log, ["--nodes=2", *LIMIT], str(batch))
    state = ended(job, 20)
    print(f"job {job}: {state}\n{log.read_text()}")
    assert state == "COMPLETED"
    assert "Ray: 2 of 2 nodes" in log.read_text()
    assert "GPUS [('n1', '0'), ('n2', '0')]" in log.read_text()


def training(out: Path, n: int) -> None:
    """A training whose time is up goes on from its last checkpoint."""
    cohort, run, log = out / "prepared", out / "autoencoder", out / "train.log"
    asked = ["--cohort", "virtual", "--n", 8, "--validation", 0.25, "--preset", "tiny"]
    prepared = cli_job("prepare", "--out", cohort, *asked)
    assert prepared.returncode == 0, prepared.stderr
    # A worker for each GPU is what the script begins; this machine has none.
    limit = [*LIMIT[:2], "--gpus-per-node=0"]
    words = ["train-autoencoder", "--cohort", cohort, "--out", run, "--preset", "tiny"]
    steps = ["--steps", 3 * n, "--save-every", 10, "--cpus-per-worker", 1, "--workers", 1]
    job = submit(log, limit, "train.sbatch", *words, *steps)
    wait_until(lambda: checkpoints(run) > 1, "two checkpoints", 1200)
    cut_short(job)
    wait_until(lambda: field(job, "Restarts") == "1", "its going back into the queue", 300, log)
    print(f"{checkpoints(run)} checkpoints were there when its time was up")
    said("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    state = ended(job, 30)
    print(f"job {job}: {state} after {field(job, 'Restarts')} restarts\n{log.read_text()}")
    assert (state, field(job, "Restarts")) == ("COMPLETED", "1"), "done before: a larger --n"
    assert (run / "autoencoder" / "autoencoder.safetensors").exists()


SCENARIOS = {
    "time": time_is_up,
    "cancel": cancelled,
    "wrong": wrong,
    "nodes": nodes,
    "train": training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--n", type=int, default=120, help="volumes of the release (120)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left of a stop
    with tempfile.TemporaryDirectory(prefix="bp-slurm-out-") as name, slurm():
        for what in args.what or SCENARIOS:
            print(f"--- {what}: {SCENARIOS[what].__doc__}", flush=True)
            SCENARIOS[what](Path(name), args.n)
    left = [path for path in Path("/tmp").glob("brainpress-*") if path.name[11:].isdecimal()]
    assert not left, left


if __name__ == "__main__":
    main()
