"""Classifier-free guidance: of predictions, and of a model trained with dropped conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldm.covariates import Row
from ldm.diffusion.config import Sampling
from ldm.diffusion.guidance import guided
from ldm.diffusion.samplers import sample, split
from ldm.diffusion.schedule import PREDICTIONS, Schedule
from ldm.errors import LdmError
from ldm.models.latent_diffusion import Model
from ldm.networks import Denoiser
from tests.ldm.ideal_denoiser import level, noise
from tests.ldm.tiny_model import PRESET, networks, working_model

ROWS: list[Row] = [
    {"sex": "F", "age": 50.0, "ventricular_volume": 20_000.0, "brain_volume": 1.4e6},
    {"sex": "M", "age": 80.0, "ventricular_volume": 90_000.0, "brain_volume": 1.6e6},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model whose denoiser knows what dropped conditions read."""
    description = working_model(tmp_path_factory.mktemp("model") / "tiny")
    torch.manual_seed(0)
    denoiser = Denoiser(replace(PRESET.denoiser, null_condition=0.0))
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    return Model(description, networks()[0], denoiser)


def latents(model: Model, *rows: Row, **how: Any) -> Tensor:
    return model.sample_latents(rows, [(1,)] * len(rows), **{"steps": 3, **how})


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_guidance_is_the_same_of_whatever_is_predicted(prediction: str) -> None:
    """The image of guided predictions is the guided image: the kinds differ by x_t alone."""
    here = level(Schedule(prediction=prediction), 300)
    latent, with_, without = noise(1), noise(2), noise(3)
    image = [split(p, latent, here, prediction)[0] for p in (with_, without)]
    both = guided(lambda *_: with_, lambda *_: without, 3.0)(latent, latent)
    found, _ = split(both, latent, here, prediction)
    torch.testing.assert_close(found, image[1] + 3 * (image[0] - image[1]), rtol=1e-4, atol=1e-4)


def test_two_gaussians_are_driven_apart_by_exactly_as_much_as_the_scale_says() -> None:
    """Conditional images N(m, 1), all images N(0, 1): guided samples are N(w m, 1)."""
    schedule, mean, scale = Schedule(), 0.7, 2.5

    def predictor(centre: float) -> Any:
        def predict(latent: Tensor, times: Tensor) -> Tensor:
            return level(schedule, int(times[0])).sigma * (latent - at(times) * centre)

        return predict

    def at(times: Tensor) -> float:
        return level(schedule, int(times[0])).signal

    start = noise(4, count=200)
    how = Sampling(sampler="unipc", steps=30)
    plain = sample(predictor(0), start, schedule, how)
    found = sample(guided(predictor(mean), predictor(0), scale), start, schedule, how)
    torch.testing.assert_close(
        found - plain, torch.full_like(plain, scale * mean), rtol=0.03, atol=0
    )


def test_at_scale_1_and_0_the_denoiser_is_called_once_a_step() -> None:
    calls: list[str] = []
    kinds = [lambda x, _, kind=kind: calls.append(kind) or x for kind in ("with", "without")]
    for scale, expected in ((1.0, ["with"]), (0.0, ["without"]), (2.0, ["without", "with"])):
        calls.clear()
        guided(*kinds, scale)(torch.ones(1), torch.ones(1))
        assert calls == expected


def test_without_conditions_the_covariates_do_not_matter_and_with_guidance_they_do(
    model: Model,
) -> None:
    one, other = (latents(model, row, guidance=0.0) for row in ROWS)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    one, other = (latents(model, row, guidance=3.0) for row in ROWS)
    assert not torch.allclose(one, other, rtol=1e-3)


def test_guidance_of_1_changes_nothing_and_more_goes_on_where_the_conditions_point(
    model: Model,
) -> None:
    plain = latents(model, ROWS[0])
    torch.testing.assert_close(latents(model, ROWS[0], guidance=1.0), plain, rtol=0, atol=0)
    without = latents(model, ROWS[0], guidance=0.0, steps=1)
    with_ = latents(model, ROWS[0], guidance=1.0, steps=1)
    more = latents(model, ROWS[0], guidance=2.0, steps=1)
    torch.testing.assert_close(more - without, 2 * (with_ - without), rtol=1e-3, atol=1e-4)


def test_a_model_samples_as_it_recommends_where_nothing_else_is_asked_for(model: Model) -> None:
    best = Sampling(sampler="unipc", steps=4, guidance=2.0)
    better = Model(replace(model.description, sampling=best), model.autoencoder, model.denoiser)
    keys = [(1,)]
    found = better.sample_latents(ROWS[:1], keys)
    asked = model.sample_latents(ROWS[:1], keys, sampler="unipc", steps=4, guidance=2.0)
    torch.testing.assert_close(found, asked, rtol=0, atol=0)
    first = better.sample(seed=5, **ROWS[0])
    again = model.sample(seed=5, sampler="unipc", steps=4, guidance=2.0, **ROWS[0])
    np.testing.assert_array_equal(first.get_fdata(), again.get_fdata())
    assert better.description.fingerprint == model.description.fingerprint


def test_a_volume_without_conditions_is_one_call_away(model: Model) -> None:
    first = model.sample(seed=5, steps=2, unconditional=True)
    again = model.sample(seed=5, steps=2, guidance=0.0)
    np.testing.assert_array_equal(first.get_fdata(), again.get_fdata())
    with pytest.raises(LdmError, match="unconditional sampling with age: give one or the other"):
        model.sample(seed=5, steps=2, unconditional=True, age=70)


@pytest.mark.parametrize("how", [{"guidance": 2.0}, {"guidance": 0.0}])
def test_a_model_that_never_saw_dropped_conditions_says_so(tmp_path: Path, how: dict) -> None:
    model = Model(working_model(tmp_path / "tiny"), *networks())
    with pytest.raises(LdmError, match="need one trained with --condition-dropout"):
        latents(model, ROWS[0], **how)
