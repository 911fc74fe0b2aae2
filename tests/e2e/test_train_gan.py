"""A baseline on real Ray: trained, gone on with, printed, verified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import ldm
from ldm.gan.presets import gan_preset
from manifests.format.release_json import read_release
from manifests.storage import open_store
from ray_jobs import cli
from tests.e2e.running import RayHead, job
from tests.ray_jobs.line import refused, write_prepared

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

STEPS, MORE = 60, 120


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A VAE-GAN's run: its folder, its command but for the steps, and what it said in two goes."""

    out: Path
    words: list[object]
    said: list[CompletedProcess[str]]

    def card(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "model" / "model.json").read_text())["card"]
        return found


@pytest.fixture(scope="module")
def trained(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("gan")
    cohort = write_prepared(folder / "prepared")
    out = folder / "gan"
    words: list[object] = [
        *("--kind", "vae-gan", "--cohort", cohort.folder, "--preset", "tiny", "--name", "small"),
        *("--save-every", 30, "--cpus-per-worker", 1, "--out", out),
    ]
    extra = {**head.environment(), "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
    said = [job("train-gan", *words, "--steps", steps, extra=extra) for steps in (STEPS, MORE)]
    assert [done.returncode for done in said] == [0, 0], [done.stderr for done in said]
    return Trained(out=out, words=words, said=said)


def test_the_same_command_goes_on_with_a_run_and_learns(trained: Trained) -> None:
    first, second = trained.said
    assert f"held out at {STEPS}: " in first.stderr
    assert f"goes on from step {STEPS}/{MORE}" in second.stderr
    assert "  next      brainpress generate --model " in second.stdout
    history = trained.card()["training"]["gan"]["history"]
    assert [entry["step"] for entry in history] == [30, 60, 90, 120]
    assert history[-1]["l1"] < history[0]["l1"]
    assert history[-1]["psnr"] > history[0]["psnr"]
    assert "Traceback" not in first.stderr + second.stderr


def test_its_card_says_what_it_is_and_names_no_subject(trained: Trained) -> None:
    card = trained.card()
    assert (card["name"], card["license"], card["demo"]) == ("small", "CC0-1.0", False)
    told = card["training"]
    assert told["gan"]["kind"] == "vae-gan"
    assert told["commands"] == [
        "brainpress train-gan --kind vae-gan --cohort prepared --preset tiny --name small "
        f"--steps {MORE} --save-every 30 --out gan"
    ]
    assert told["subjects"] + told["held_out"] == 12
    assert "sub-0" not in (trained.out / "model" / "model.json").read_text()


def test_it_leaves_curves_and_pictures(trained: Trained) -> None:
    pictures = sorted((trained.out / "previews").iterdir())
    assert [path.name for path in pictures] == [f"step-{s:06d}.png" for s in (30, 60, 90, 120)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert list((trained.out / "tensorboard").glob("events.out.tfevents.*"))


def test_a_release_printed_with_it_verifies(
    head: RayHead, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "release"
    words = ["--model", trained.out / "model", "--n", 4, "--out", out]
    done = job("generate", *words, extra=head.environment())
    assert done.returncode == 0, done.stderr
    assert cli.main(["verify", str(out)]) == 0, capsys.readouterr()
    assert read_release(open_store(out))["sampler"] == {"name": "one pass of the generator"}
    image: Any = ldm.load(str(trained.out / "model")).sample(seed=1)
    assert image.shape == gan_preset("tiny").grid.shape
    assert np.ptp(image.get_fdata()) > 0.1


def test_run_again_it_does_nothing_and_another_kind_is_refused(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # Ray is not even asked for
    words = [*map(str, trained.words), "--steps", str(MORE)]
    assert cli.main(["train-gan", *words]) == 0
    assert "; nothing left to do\n" in capsys.readouterr().out
    other = ["lsgan" if word == "vae-gan" else word for word in words]
    assert "kind 'vae-gan' -> 'lsgan'" in refused(capsys, "train-gan", *other)
