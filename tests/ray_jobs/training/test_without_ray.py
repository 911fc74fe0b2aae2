"""A model trained for a given time, without Ray, as tests.benchmarks.gpu does on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ldm.loading import load
from tests.benchmarks.gpu import model
from tests.ray_jobs.line import write_prepared


def test_every_stage_leaves_curves_and_a_model_that_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_prepared(tmp_path / "prepared")
    words = ["--cohort", str(tmp_path / "prepared"), "--preset", "tiny", "--device", "cpu"]
    words += ["--minutes", "0.02,0.02,0", "--copies", "2", "--makers", "1"]
    monkeypatch.setattr(model, "SAMPLES", 2)
    model.main([*words, "--out", str(tmp_path / "trained")])
    figures = json.loads((tmp_path / "trained" / "figures.json").read_text())
    for stage, figure in (("autoencoder", "l1"), ("diffusion", "loss")):
        history = figures[stage]
        assert len(history) == 4
        assert history[-1]["step"] > history[0]["step"] > 0
        assert history[-1][figure] < history[0][figure]
        assert 1.2 * 0.9 < history[-1]["seconds"] < 10
    image = load(str(tmp_path / "trained" / "model")).sample(age=60, sex="F", steps=2)
    assert torch.tensor(image.get_fdata()).isfinite().all()
    assert (tmp_path / "trained" / "samples.png").read_bytes().startswith(b"\x89PNG")
