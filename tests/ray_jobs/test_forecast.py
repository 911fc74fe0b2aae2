"""`train-... --dry-run`: what a training takes and leaves, before it takes or leaves anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ldm.tiny_model import working_model
from tests.ray_jobs.line import (
    ended,
    without_ray,
    write_line,
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_line(tmp_path_factory.mktemp("line"))
    working_model(folder / "model")
    return folder


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


@pytest.mark.parametrize(
    ("verb", "given", "what"),
    [
        ("train-autoencoder", {"--cohort": "prepared"}, "autoencoder"),
        ("train-diffusion", {"--latents": "latents"}, "diffusion model"),
        ("train-decoder", {"--cohort": "prepared", "--model": "model"}, "refiner"),
    ],
)
def test_a_dry_run_says_what_a_training_takes_and_makes_nothing(
    verb: str,
    given: dict[str, str],
    what: str,
    line: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word for option, name in given.items() for word in (option, line / name)]
    out = tmp_path / "out"
    words += ["--preset", "tiny", "--cpus-per-worker", 1, "--out", out, "--dry-run"]
    code, said, _ = ended(capsys, verb, *words)
    lines = said.splitlines()
    assert code == 0
    assert not out.exists()
    assert lines[0].startswith(f"{what}: ")
    assert [text.split(":")[0] for text in lines[1:3]] == ["memory", "work"]
    assert "a GPU of 8 GB" in lines[1]
    assert str(out) in lines[3]
    assert lines[4].startswith("tried here: ")
    assert "on 1 thread" in lines[4]
    assert lines[5] == "nothing was trained; leave out --dry-run to begin"


def test_on_gpus_nothing_is_tried_here_and_workers_share_the_work(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--latents", line / "latents", "--preset", "tiny", "--out", tmp_path / "out"]
    words += ["--dry-run", "--gpu", "--workers", 4, "--batch-size", 16, "--micro-batch", 2]
    code, said, _ = ended(capsys, "train-diffusion", *words)
    assert code == 0
    assert "with 2 at once" in said
    assert "on 4 GPUs that do 25 TFLOP each" in said
    assert "tried here" not in said
