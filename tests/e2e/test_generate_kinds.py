"""A cluster with GPUs of two kinds, in name: told, chosen from, and named in the rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests import Release
from manifests.verify import verify
from tests.e2e.running import ROOT, RayHead, environment, wait_until
from tests.faults.machine import Machine
from tests.faults.wrong_devices import WRONG_JSON

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def two_kinds() -> Iterator[RayHead]:
    """A machine with an A100 and one with a T4, in name."""
    head = RayHead.start(cpus=2, gpus=1, kind="A100", cwd=ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACHINE", "1")
        machine = Machine(head, cpus=2, gpus=1, kind="T4")
    try:
        wait_until(lambda: head.machines() == 2, "a second machine")
        yield head
    finally:
        machine.kill()
        head.stop()


def printed(
    head: RayHead, model: Path, out: Path, *more: str, wrong: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`generate` on these GPUs, which compute on the CPU; some may be wrong."""
    out.parent.mkdir(exist_ok=True)
    (out.parent / WRONG_JSON).write_text(json.dumps(wrong or {}))
    words = ["--n", "16", "--model", str(model), "--steps", "2", "--shard-size", "4"]
    words += ["--batch-size", "4", "--compile", "off", "--out", str(out), *more]
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.wrong_devices", *words],
        env=environment({"PYTHONPATH": str(ROOT), **head.environment()}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_two_kinds_are_told_before_the_run_and_rows_name_what_made_them(
    two_kinds: RayHead, model: Path, tmp_path: Path
) -> None:
    done = printed(two_kinds, model, tmp_path / "release")
    assert done.returncode == 0, done.stderr
    assert "GPUs of several kinds (1 of A100, 1 of T4)" in done.stderr
    # The plan was begun on a GPU, and what draws here is a CPU.
    assert done.stderr.count("this release was begun on GPU, torch ") == 1, done.stderr
    release = Release.open(tmp_path / "release")
    assert verify(release).ok
    assert len(set(release.query(columns=["made_on"])["made_on"].to_pylist())) == 1
    assert release.document.fields["accelerator"] == "GPU"


def test_one_kind_is_taken_and_the_other_left_alone(
    two_kinds: RayHead, model: Path, tmp_path: Path
) -> None:
    never = {"0/0": "cannot load"}  # the A100
    done = printed(two_kinds, model, tmp_path / "release", "--accelerator-type", "T4", wrong=never)
    assert done.returncode == 0, done.stderr
    assert "1 worker, GPU each" in done.stderr
    assert "several kinds" not in done.stderr
    assert "left out" not in done.stderr
    refused = printed(two_kinds, model, tmp_path / "other", "--accelerator-type", "H100")
    assert refused.returncode == 2
    assert "the cluster's GPUs are of A100, T4; give one of these" in refused.stderr
    assert not (tmp_path / "other").exists()
