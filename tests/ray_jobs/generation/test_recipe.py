"""The recipe that a plan pins: it comes back as it was, and old plans say it as they always did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA
from ldm.diffusion.config import SAMPLERS, Sampler, Sampling
from ldm.loading import describe
from ldm.models.description import ONE_PASS
from ray_jobs.generation.covariates import CovariateSource
from ray_jobs.generation.options import Device
from ray_jobs.generation.plan import plan_fields
from ray_jobs.generation.recipe import Recipe

SOURCE = CovariateSource(
    kind="cohort",
    schema=PAPER_SCHEMA,
    distribution=describe("demo").distribution,
    fixed={"age": 70.0},
)
SAMPLINGS = st.none() | st.builds(
    lambda sampler, steps, eta, guidance: Sampling(
        sampler=sampler, steps=steps, eta=eta * (sampler == Sampler.DDIM), guidance=guidance
    ),
    st.sampled_from(SAMPLERS),
    st.integers(1, 1000),
    st.floats(0, 1),
    st.floats(0.1, 9),
)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**63 - 1),
    sampling=SAMPLINGS,
    attempts=st.integers(1, 9),
    batch_size=st.integers(1, 64),
    source=st.just(SOURCE),
)


def planned(recipe: Recipe) -> dict[str, Any]:
    """The fields of a plan, as they come back from the store."""
    fields = plan_fields(
        recipe,
        model_name="demo",
        model_fingerprint="f" * 64,
        device=Device.CPU,
        precision="fp32",
        shard_size=8,
    )
    read: dict[str, Any] = json.loads(json.dumps(fields))
    return read


@given(RECIPES)
def test_a_recipe_comes_back_from_the_plan_that_pins_it(recipe: Recipe) -> None:
    assert Recipe.pinned(planned(recipe), SOURCE) == recipe


@pytest.mark.parametrize(
    ("sampler", "drawn", "keywords"),
    [
        ("unipc", {"steps": 15, "eta": 0.0, "guidance": 1.6}, {"guidance": 1.6}),
        ("ddim", {"steps": 50, "eta": 0.5}, {"eta": 0.5}),
        ("ddpm", {"steps": 1000, "eta": 1.0}, {"eta": 0.0}),
        (ONE_PASS, {"steps": 1, "eta": 0.0}, {}),
    ],
)
def test_a_plan_written_before_is_understood_and_would_be_written_so_again(
    sampler: str, drawn: dict[str, Any], keywords: dict[str, Any]
) -> None:
    before = {
        "model": "demo",
        "model_fingerprint": "f" * 64,
        "schema": PAPER_SCHEMA.fingerprint,
        "sampler": sampler,
        **drawn,
        "seed": 3,
        "covariates": "cohort",
        "fixed": {"age": 70.0},
        "attempts": 3,
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 4,
        "shard_size": 8,
    }
    recipe = Recipe.pinned(before, SOURCE)
    assert json.dumps(planned(recipe)) == json.dumps(before)
    asked = {"sampler": sampler, "steps": drawn["steps"], "eta": 0.0, "guidance": 1.0}
    assert recipe.keywords() == {**asked, **keywords}


def test_noise_keys_name_seed_index_and_attempt_and_covariates_know_no_attempt() -> None:
    recipe = Recipe(seed=9, sampling=None, attempts=2, batch_size=2, source=SOURCE)
    assert recipe.keys(range(4, 6), 1) == [(9, 4, 1), (9, 5, 1)]
    assert recipe.covariates(range(4, 6)) == [SOURCE.draw(9, 4), SOURCE.draw(9, 5)]


def test_a_recipe_of_other_steps_is_the_same_otherwise_and_a_gan_has_one() -> None:
    recipe = Recipe(
        seed=9, sampling=Sampling(guidance=2.0), attempts=2, batch_size=2, source=SOURCE
    )
    assert (recipe.steps, recipe.of_steps(2).steps) == (50, 2)
    assert recipe.of_steps(2).of_steps(50).keywords() == {**recipe.keywords(), "steps": 50}
    gan = Recipe(seed=9, sampling=None, attempts=2, batch_size=2, source=SOURCE)
    assert (gan.steps, gan.of_steps(6)) == (1, gan)
