"""Deaths in the middle of a release: of a worker, of the driver, and at a person's wish."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from tests.e2e.running import (
    alive,
    descendants,
    files,
    generate,
    kill,
    memory_bytes,
    named,
    parts,
    started,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

N = 48


def words(model: Path, out: Path) -> list[object]:
    """A release whose shards take a second or so, long enough to die in."""
    return ["--n", N, "--model", model, "--steps", 40, "--shard-size", 4, "--out", out]


@pytest.fixture(scope="module")
def reference(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The release made undisturbed by one worker."""
    out = tmp_path_factory.mktemp("reference") / "release"
    done = generate(*words(model, out), "--actors", 1)
    assert done.returncode == 0, done.stderr
    return files(out)


@pytest.mark.slow
def test_a_worker_killed_and_one_that_hangs_are_replaced_and_not_a_byte_differs(
    model: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """And the whole tree of processes stays within the memory of a laptop."""
    out = tmp_path / "release"
    with started(*words(model, out), "--actors", 2, "--worker-patience", 10) as run:
        wait_until(lambda: parts(out), "a first shard")
        assert 0 < memory_bytes([run.pid, *descendants(run.pid)]) < 3e9
        workers = named(descendants(run.pid), "ray::Worker")
        assert len(workers) == 2
        kill(workers[0])
        os.kill(workers[1], signal.SIGSTOP)
        said, told = run.communicate(timeout=600)
    assert run.returncode == 0, told
    lost = re.findall(r"attempt . of 3: worker (lost|hung) \(", told)
    assert len(lost) >= 2, told
    assert re.search(r"worker hung \(no answer for \d+ s\)", told)
    assert len(said.splitlines()) == 4, "Ray's own words were shown"
    assert files(out) == reference
    assert f"{N} samples" in said


def volumes(out: Path) -> dict[Path, int]:
    """When each volume of a release was written last."""
    return {path: path.stat().st_mtime_ns for path in out.glob("sub-*/anat/*.nii.gz")}


def test_what_a_shard_in_hand_has_when_sigterm_comes_is_kept_and_drawn_once(
    model: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "release", tmp_path / "whole"
    about: list[object] = ["--n", N, "--model", model, "--steps", 40, "--batch-size", 2]
    about += ["--shard-size", N // 2, "--actors", 1, "--out"]
    plan, ledger = ShardPlan(N, N // 2), Ledger(open_store(out))

    with started(*about, out) as run:
        wait_until(lambda: len(volumes(out)) >= 6, "three batches")
        os.kill(run.pid, signal.SIGTERM)
        _, told = run.communicate(timeout=300)
    assert run.returncode == 143, told
    kept = re.search(r"stopped by SIGTERM; 0 of 48 .* and (\d+) more, of 1 shard begun", told)
    assert kept, told
    assert 4 <= int(kept[1]) < N // 2
    assert ledger.pending(plan) == [0, 1]
    before = dict(sorted(volumes(out).items())[: int(kept[1])])

    # With time enough a shard in hand is finished, and no other is begun.
    with started(*about, out, "--grace", 300) as run:
        wait_until(lambda: len(volumes(out)) > int(kept[1]) + 4, "more batches")
        os.kill(run.pid, signal.SIGTERM)
        _, told = run.communicate(timeout=300)
    assert run.returncode == 143, told
    assert "stopping: the shards in hand are worked on for " in told
    assert "24 of 48 volumes are done, shard 1 (samples 24-47) missing; run the same" in told
    assert ledger.pending(plan) == [1]

    for place in (out, whole):
        done = generate(*about, place)
        assert done.returncode == 0, done.stderr
    assert files(out) == files(whole)
    assert before.items() <= volumes(out).items(), "kept, and drawn again"


def test_a_run_ended_by_ctrl_c_by_sigterm_and_by_kill_9_goes_on_to_the_same_bytes(
    model: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "release"
    plan, ledger = ShardPlan(N, 4), Ledger(open_store(out))

    # Ctrl-C in a terminal reaches every process of the group; Ray's must not mind.
    with started(*words(model, out), "--actors", 1) as run:
        wait_until(lambda: parts(out), "a first shard")
        os.killpg(run.pid, signal.SIGINT)
        _, told = run.communicate(timeout=300)
    assert run.returncode == 130, told
    assert re.search(
        r"stopping after the shards in hand( \(one takes some .* s\))?; Ctrl-C again stops at once",
        told,
    )
    assert re.search(r"volumes are done, shards? \d.* \(samples \d.*\) missing; run the same", told)
    assert "run the same command to go on" in told.splitlines()[-1]
    assert "Traceback" not in told
    done = len(parts(out))
    volumes = [name for name in files(out) if name.endswith(".nii.gz")]
    assert len(volumes) == 4 * done, "a shard was broken off"

    with started(*words(model, out), "--actors", 1) as run:
        wait_until(lambda: len(parts(out)) > done, "another shard")
        os.kill(run.pid, signal.SIGTERM)
        _, told = run.communicate(timeout=300)
    assert run.returncode == 143, told
    assert "stopped by SIGTERM; " in told.splitlines()[-1]
    assert "Traceback" not in told
    done = len(parts(out))

    with started(*words(model, out), "--actors", 1) as run:
        wait_until(lambda: len(parts(out)) > done, "another shard")
        tree = descendants(run.pid)
        kill(run.pid)
        # Ray's two agents look for their parent once a minute only, and do nothing meanwhile.
        agents = named(tree, "ray::DashboardAgent") + named(tree, "ray::RuntimeEnvAgent")
        working = [pid for pid in tree if pid not in agents]
        wait_until(lambda: not alive(working), "the end of a dead driver's workers")
        for pid in agents:
            kill(pid)
    pending = ledger.pending(plan)
    assert 0 < len(pending) < plan.count
    assert "release.json" not in files(out)

    again = generate(*words(model, out), extra={"OMP_NUM_THREADS": "2"})  # must not matter
    assert again.returncode == 0, again.stderr
    assert re.search(rf"\b{len(pending)} shards? of 4 to do", again.stderr)
    assert files(out) == reference
