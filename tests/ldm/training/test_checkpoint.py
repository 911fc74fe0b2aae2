"""Checkpoints: what is written comes back, what is incomplete is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ldm.errors import LdmError
from ldm.training import checkpoint

GROUPS = {
    "model": {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, 1, 1, 2, 3)},
    "optimizer": {"a.weight/step": torch.tensor(7.0)},
}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    laid_out = GROUPS["model"]["b"].contiguous(memory_format=torch.channels_last_3d)
    groups = {**GROUPS, "model": {**GROUPS["model"], "b": laid_out}}
    checkpoint.write(tmp_path / "new" / "folder", groups, {"step": 7, "note": "é"})
    found, meta = checkpoint.read(tmp_path / "new" / "folder")
    assert (meta["step"], meta["note"]) == (7, "é")
    assert found.keys() == GROUPS.keys()
    for name, tensors in GROUPS.items():
        torch.testing.assert_close(found[name], tensors, rtol=0, atol=0)


def test_tensors_that_share_memory_are_each_written(tmp_path: Path) -> None:
    weight = torch.ones(3)
    checkpoint.write(tmp_path, {"model": {"one": weight, "other": weight}}, {})
    assert checkpoint.read(tmp_path)[0]["model"].keys() == {"one", "other"}


def test_a_checkpoint_without_its_last_file_does_not_count(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, GROUPS, {})
    (tmp_path / checkpoint.META).unlink()
    with pytest.raises(LdmError, match="not a complete checkpoint") as caught:
        checkpoint.read(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", checkpoint.META])
@pytest.mark.parametrize("kept", [0, 0.5, 0.95])
def test_a_truncated_checkpoint_is_told(tmp_path: Path, name: str, kept: float) -> None:
    checkpoint.write(tmp_path, GROUPS, {"step": 7})
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    with pytest.raises(LdmError, match=r"not a complete checkpoint.*run the same command again"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("document", [[], {}, {"groups": ["absent"]}, {"groups": 3}])
def test_metadata_of_another_kind_is_told(tmp_path: Path, document: object) -> None:
    checkpoint.write(tmp_path, GROUPS, {})
    (tmp_path / checkpoint.META).write_text(json.dumps(document))
    with pytest.raises(LdmError, match="not a complete checkpoint"):
        checkpoint.read(tmp_path)


def test_an_optimizer_s_state_comes_back() -> None:
    def stepped(times: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(times):
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
        return model, optimizer

    (model, optimizer), (other, restored) = stepped(3), stepped(0)
    kept = checkpoint.optimizer_tensors(optimizer, model)
    assert set(kept) == {
        f"{p}/{e}" for p in ("weight", "bias") for e in ("step", "exp_avg", "exp_avg_sq")
    }
    checkpoint.restore_optimizer(restored, other, kept)
    torch.testing.assert_close(checkpoint.optimizer_tensors(restored, other), kept)
