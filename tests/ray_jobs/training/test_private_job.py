"""`train-private`: from what it begins, what it promises, and what a model made of it may claim."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.loading import describe
from ldm.models.card import PRIVACY, render_card, without_privacy
from ldm.models.description import CONFIG
from ldm.models.latent_diffusion import save
from ldm.training.private.config import PrivacyConfig
from ray_jobs.encoding.autoencoder_folder import open_run
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.training.private_job import people_of, statement
from tests.ldm.tiny_model import networks, working_model
from tests.ray_jobs.line import (
    refused,
    without_ray,
    write_line,
)

PROMISE = PrivacyConfig(epsilon=10, delta=1e-3, people=131, people_per_step=32.75, steps=60)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with latents and the public model whose autoencoder encoded them."""
    folder = write_line(tmp_path_factory.mktemp("line"))
    described = working_model(folder / "public" / "model", seed=4)
    autoencoder = open_run(folder / "autoencoder").network()
    save(folder / "public" / "model", described, autoencoder, networks(seed=4)[1])
    return folder


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


def command(line: Path, out: Path, *words: object) -> list[object]:
    given = ["--latents", line / "latents", "--from", line / "public", "--epsilon", 8]
    return ["train-private", *given, "--out", out, *words]


def test_all_that_fits_goes_as_far_as_ray(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError, match="Ray"):
        refused(capsys, *command(line, tmp_path / "out"))
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["kind"] == "private"
    people = len(people_of(EncodedCohort.open(line / "latents"), "train"))
    assert told["privacy"]["people"] == people
    assert told["privacy"]["delta"] == pytest.approx(0.1 / people)


def test_another_autoencoder_than_the_public_model_s_is_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    working_model(tmp_path / "other", seed=5)
    said = refused(capsys, *command(line, tmp_path / "out", "--from", tmp_path / "other"))
    assert "was encoded by another autoencoder than that of --from" in said


def test_a_private_model_is_no_public_one(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = working_model(tmp_path / "private")
    card = {**described.card, PRIVACY: statement(PROMISE, 1.02, described)}
    save(tmp_path / "private", replace(described, card=card), *networks())
    said = refused(capsys, *command(line, tmp_path / "out", "--from", tmp_path / "private"))
    assert "expected the public model that it was made from" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epsilon", 0], "epsilon 0: expected above 0"),
        (["--delta", 0.5], "below one over the"),
        (["--people-per-step", 0], "0 people a step: expected above 0"),
        (["--people-per-step", 1000], "no more than the"),
        (["--epsilon", 1e-9, "--delta", 1e-15], "no noise keeps that promise"),
        (["--condition-dropout", 0.1], "was trained with its conditions always given; expected 0"),
        (["--draws", 0], "batch_size 0: expected at least 1"),
        (["--tune", "some"], "invalid choice: 'some'"),
        (["--take", "best"], "unknown option '--take'"),
        (["--track", "wandb"], "unknown option '--track'"),
        (["--workers", 2], "unknown option '--workers'"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_one_line(
    words: list[object],
    said: str,
    line: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in refused(capsys, *command(line, tmp_path / "out", *words))


def test_sessions_and_contrasts_of_a_person_stand_together(line: Path) -> None:
    latents = EncodedCohort.open(line / "latents")
    train = latents.split("train")
    names = [f"sub-{place // 2:02d}_ses-{place % 2}" for place in range(len(train))]
    table = train.assign(participant_id=names)
    people = people_of(replace(latents, table=table), "train")
    assert len(people) == (len(train) + 1) // 2
    assert people[0].tolist() == [0, 1]
    assert sorted(np.concatenate(people).tolist()) == list(range(len(train)))


def test_a_card_says_what_was_promised_and_a_model_made_from_people_again_does_not(
    tmp_path: Path,
) -> None:
    described = working_model(tmp_path / "public")
    card: dict[str, Any] = {**described.card, PRIVACY: statement(PROMISE, 1.0204, described)}
    text = render_card(replace(described, card=card))
    assert "Epsilon 10 at delta 0.001, for one person more or less among 131" in text
    assert "noise of 1.02 times what a person adds at most" in text
    after = without_privacy(card, "train-decoder")
    assert PRIVACY not in after
    assert after["description"].endswith("train-decoder took more from people than was promised.")
    assert without_privacy(described.card, "calibrate") == described.card


@pytest.mark.parametrize("promise", [3, {}, {"epsilon": "x | y", "public": 3}, ["a"]])
def test_a_card_of_another_shape_is_no_obstacle(tmp_path: Path, promise: object) -> None:
    described = working_model(tmp_path / "public")
    render_card(replace(described, card={**described.card, PRIVACY: promise}))


def test_what_it_leaves_is_described_by_the_public_model_alone(line: Path) -> None:
    public = describe(str(line / "public" / "model"))
    told = statement(PROMISE, 1.02, public)["public"]
    assert told == {"name": public.name, "fingerprint": public.fingerprint}
    assert (line / "public" / "model" / CONFIG).exists()
