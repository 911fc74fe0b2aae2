"""Each fault for real: what is done to a run, and what must come of it.

Every function returns a line for the runner's table, and raises AssertionError where the finished
release is not the undisturbed one, or a run that could not finish does not say so.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.running import (
    ROOT,
    RayHead,
    descendants,
    environment,
    files,
    generate,
    kill,
    named,
    started,
    wait_until,
)
from tests.faults.machine import Machine
from tests.faults.proxy import KINDS, shown
from tests.faults.stage import Stage, pending

WORKER = "ray::Worker"
LONG_SECONDS = 600


def worker_killed(stage: Stage) -> str:
    """kill -9 of a worker: replaced, the run ends well."""
    out = stage.place()
    with started(*stage.words, "--out", out, "--actors", 2) as run:
        wait_until(lambda: stage.parts(out), "a first shard")
        kill(named(descendants(run.pid), WORKER)[0])
        told = ended(run, 0)
    assert "attempt 2 of 3: worker lost" in told
    stage.check_same(files(out))
    return "replaced; exit 0, same bytes"


def worker_hung(stage: Stage) -> str:
    """SIGSTOP of a worker: found silent, killed, replaced."""
    out = stage.place()
    with started(*stage.words, "--out", out, "--actors", 2, "--worker-patience", 5) as run:
        wait_until(lambda: stage.parts(out), "a first shard")
        stopped = named(descendants(run.pid), WORKER)[0]
        os.kill(stopped, signal.SIGSTOP)
        told = ended(run, 0)
    assert "worker hung (no answer for" in told, told
    stage.check_same(files(out))
    return "found after 5 s of silence, replaced; exit 0, same bytes"


def node_killed(stage: Stage) -> str:
    """kill -9 of everything on one of two machines of a cluster."""
    uri = f"s3://{stage.server.make_bucket()}/release"
    head = RayHead.start(cpus=1, cwd=ROOT)
    machine = Machine(head)
    try:
        wait_until(lambda: head.machines() == 2, "a second machine")
        extra = {**stage.server.environment(), **head.environment()}
        with started(*stage.words, "--out", uri, "--actors", 2, extra=extra) as run:
            working = f"{WORKER}.print_shard"
            wait_until(lambda: named(descendants(machine.node.pid), working), "work there")
            machine.kill()
            told = ended(run, 0)
        assert "worker lost" in told or "unavailable" in told, told
    finally:
        machine.kill()
        head.stop()
    stage.check_same(stage.objects(uri))
    return "its worker's shard went to another; exit 0, same bytes"


def driver_killed(stage: Stage) -> str:
    """kill -9 of the driver, three times, and the same command again."""
    out = stage.place()
    for _ in range(3):
        before = stage.parts(out)
        with started(*stage.words, "--out", out) as run:
            wait_until(lambda before=before: stage.parts(out) > before, "another shard")
            kill(run.pid)
    left = len(pending(out))
    assert left
    goes_on(stage, out)
    stage.check_same(files(out))
    return f"{left} of 12 shards were left for the last run; exit 0, same bytes"


def s3_killed_and_back(stage: Stage) -> str:
    """kill -9 of the S3 server for 15 s: the run waits."""
    uri = f"s3://{stage.server.make_bucket()}/release"
    with started(*stage.words, "--out", uri, extra=stage.server.environment()) as run:
        wait_until(lambda: stage.parts(uri) >= 2, "two shards")
        stage.server.kill()
        time.sleep(15)
        assert stage.server.run()
        told = ended(run, 0)
    assert "attempt" not in told, told
    stage.check_same(stage.objects(uri))
    return "waited for it; exit 0, no shard tried twice, same bytes"


def s3_killed_for_long(stage: Stage) -> str:
    """The S3 server stays away for longer than the run's patience."""
    uri = f"s3://{stage.server.make_bucket()}/release"
    words = [*stage.words, "--out", uri, "--storage-patience", 5]
    with started(*words, extra=stage.server.environment()) as run:
        wait_until(lambda: stage.parts(uri) >= 2, "two shards")
        stage.server.kill()
        told = ended(run, 1).splitlines()[-1]
    assert "cannot connect at" in told, told
    assert "missing" in told
    assert stage.server.run()
    goes_on(stage, uri, extra=stage.server.environment())
    stage.check_same(stage.objects(uri))
    return "exit 1 names what is missing; the same command later: exit 0, same bytes"


def s3_misbehaves(stage: Stage) -> str:
    """Every fifth request broken, in each of the ways, and two left without an answer."""
    uri = f"s3://{stage.server.make_bucket()}/release"
    with stage.proxied(seed=4, rate=0.2) as proxy:
        with started(*stage.words, "--out", uri, extra=stage.through(proxy)) as run:
            wait_until(lambda: stage.parts(uri) >= 2, "two shards")
            proxy.silent = 2
            ended(run, 0)
        assert set(proxy.faults) > set(KINDS), proxy.faults
        told = f"{sum(proxy.faults.values())} of {proxy.requests} requests: {shown(proxy.faults)}"
    stage.check_same(stage.objects(uri))
    return f"{told}; exit 0, same bytes"


def disk_full(stage: Stage) -> str:
    """A disk that is full in the middle, and larger afterwards; needs root for its mount."""
    disk = stage.place()
    disk.mkdir()
    size = sum(map(len, stage.reference.values()))
    volumes = sum(len(d) for name, d in stage.reference.items() if name.endswith(".nii.gz"))
    with mounted(disk, volumes // 2):
        done = generate(*stage.words, "--out", disk / "release")
        told = done.stderr.splitlines()[-1]
        assert done.returncode == 1, done.stderr
        assert "No space left on device" in told, told
        assert "missing" in told, told
        subprocess.run(["mount", "-o", f"remount,size={8 * size}", disk], check=True)
        goes_on(stage, disk / "release")
        stage.check_same(files(disk / "release"))
    return "exit 1 names what is missing; with a larger disk: exit 0, same bytes"


def poison_sample(stage: Stage) -> str:
    """Sample 13 kills its worker every time."""
    out = stage.place()
    command = [sys.executable, "-m", "tests.faults.poisoned_generate", *map(str, stage.words)]
    done = subprocess.run(
        [*command, "--out", out],
        cwd=ROOT,
        env=environment({"POISON": "13", "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        check=False,
    )
    told = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert "given up: shard 3" in told, told
    assert "shard 3 (samples 12-15) missing" in told, told
    assert pending(out) == [3]
    goes_on(stage, out)
    stage.check_same(files(out))
    return "3 attempts, exit 1 names shard 3 (samples 12-15), all others made; cured: same bytes"


def two_drivers(stage: Stage) -> str:
    """Two drivers make one release at once, begun together."""
    out = stage.place()
    words = [*stage.words, "--out", out, "--actors", 1]
    with started(*words) as one, started(*words) as other:
        for run in (one, other):
            ended(run, 0)
    stage.check_same(files(out))
    return "both exit 0, same bytes"


def ctrl_c(stage: Stage) -> str:
    """SIGINT: the shards in hand are finished."""
    out = stage.place()
    with started(*stage.words, "--out", out, "--actors", 2) as run:
        wait_until(lambda: stage.parts(out), "a first shard")
        os.killpg(run.pid, signal.SIGINT)
        told = ended(run, 130)
    volumes = sum(name.endswith(".nii.gz") for name in files(out))
    assert volumes == 4 * stage.parts(out), "a shard was broken off"
    last = told.splitlines()[-1]
    assert "missing" in last, last
    assert "run the same command to go on" in last, last
    goes_on(stage, out)
    stage.check_same(files(out))
    return f"{volumes} volumes, all in whole shards; exit 130 says how to go on; then same bytes"


def terminated(stage: Stage) -> str:
    """SIGTERM, as a cluster sends it: an end within its grace, and what is stored is kept."""
    out = stage.place()
    with started(*stage.words, "--out", out, "--actors", 2) as run:
        wait_until(lambda: stage.parts(out), "a first shard")
        asked = time.monotonic()
        os.kill(run.pid, signal.SIGTERM)
        told = ended(run, 143)
        took = time.monotonic() - asked
    last = told.splitlines()[-1]
    assert "run the same command to go on" in last
    goes_on(stage, out)
    stage.check_same(files(out))
    kept = re.search(r"and (\d+) more", last)
    return f"exit 143 after {took:.1f} s, {kept[1] if kept else 0} volumes kept; then same bytes"


def terminated_in_time(stage: Stage) -> str:
    """SIGTERM with a long grace, as SLURM gives it: the shards in hand are finished."""
    out = stage.place()
    with started(*stage.words, "--out", out, "--actors", 2, "--grace", 120) as run:
        wait_until(lambda: stage.parts(out), "a first shard")
        os.kill(run.pid, signal.SIGTERM)
        ended(run, 143)
    volumes = sum(name.endswith(".nii.gz") for name in files(out))
    assert volumes == 4 * stage.parts(out), "a shard was broken off"
    goes_on(stage, out)
    stage.check_same(files(out))
    return f"{volumes} volumes, all in whole shards; exit 143; then same bytes"


def machine_drained(stage: Stage) -> str:
    """SIGTERM to a machine's `ray start`, as of a pod that goes: Ray drains it for 30 s."""
    out = stage.place()
    head = RayHead.start(cpus=1, cwd=ROOT)
    machine = Machine(head)
    try:
        wait_until(lambda: head.machines() == 2, "a second machine")
        with started(*stage.words, "--out", out, "--actors", 2, extra=head.environment()) as run:
            working = f"{WORKER}.print_shard"
            wait_until(lambda: named(descendants(machine.node.pid), working), "work there")
            machine.node.terminate()
            told = ended(run, 0)
        assert re.search(r"machine \S+ \(node \w+\) goes in \d+ s", told), told
        assert "worker lost" not in told, told
    finally:
        machine.kill()
        head.stop()
    stage.check_same(files(out))
    return "its shard was finished, no other begun there; exit 0, same bytes"


FAULTS: dict[str, Callable[[Stage], str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        worker_killed,
        worker_hung,
        node_killed,
        driver_killed,
        s3_killed_and_back,
        s3_killed_for_long,
        s3_misbehaves,
        disk_full,
        poison_sample,
        two_drivers,
        ctrl_c,
        terminated,
        terminated_in_time,
        machine_drained,
    )
}


def goes_on(stage: Stage, out: object, extra: Mapping[str, str] | None = None) -> None:
    """The same command again, to its good end."""
    done = generate(*stage.words, "--out", out, extra=extra)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"


def ended(run: subprocess.Popen[str], code: int) -> str:
    """What a run has told, once it has ended with this code."""
    _, told = run.communicate(timeout=LONG_SECONDS)
    assert run.returncode == code, f"exit {run.returncode}, expected {code}: {told}"
    assert "Traceback" not in told, told
    return told


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A small file system in memory, for the time of a block."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
