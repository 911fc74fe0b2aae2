"""Which of the checkpoints that are kept is the last, the best, or the one that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ldm.errors import LdmError
from ldm.training import checkpoint
from ray_jobs.errors import JobError
from ray_jobs.training.fitting.checkpoints import Kept, ordered
from ray_jobs.work_folder import WorkFolder


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Of steps 10 to 40: the last was saved between validations, the one before is torn."""
    kept = Kept(WorkFolder(str(tmp_path)), "run-x")
    for step, score in ((10, 0.3), (20, 0.1), (25, 0.2), (30, 0.05), (40, None)):
        folder = tmp_path / "checkpoints" / "run-x" / f"checkpoint_{step}"
        weights = {"w": torch.full((64,), float(step))}
        groups = {"average": weights, "model": weights, "optimizer": {}}
        checkpoint.write(folder, groups, {"step": step, "history": [], "score": score})
    torn = tmp_path / "checkpoints" / "run-x" / "checkpoint_30" / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-8])
    return kept


@pytest.mark.parametrize(("take", "step"), [("last", 40), ("best", 20), ("10", 10), ("25", 25)])
def test_a_checkpoint_is_taken_by_its_name(kept: Kept, take: str, step: int) -> None:
    name = kept.chosen(take)
    assert kept.look(name)["step"] == step
    assert kept.weights(name)["w"].tolist() == [float(step)] * 64


@pytest.mark.parametrize("take", ["30", "40", "11"])  # torn, never validated, not kept
def test_one_that_is_not_kept_is_refused_with_those_that_are(kept: Kept, take: str) -> None:
    with pytest.raises(JobError, match=f"--take {take}: .* of steps 10, 20, 25; choose one of"):
        kept.chosen(take)


def test_a_torn_one_is_passed_over(kept: Kept) -> None:
    with pytest.raises(LdmError, match="not a complete checkpoint"):
        kept.look("checkpoint_30")
    for path in (kept.out.path / "checkpoints" / "run-x" / "checkpoint_40").iterdir():
        path.unlink()
    assert kept.last() == "checkpoint_25"
    assert Kept(kept.out, "another").last() is None


def test_one_without_a_score_comes_after_all_others() -> None:
    assert sorted([None, 2.0, float("nan"), -1.0], key=ordered)[:2] == [-1.0, 2.0]
