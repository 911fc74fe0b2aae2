"""A cohort of centred volumes makes latents and models that say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ldm.gan.presets import gan_preset
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.training.diffusion_job import denoiser_config, describe_model
from ray_jobs.training.gan_job import describe_model as describe_gan
from ray_jobs.training.inputs import training_cohort
from tests.ray_jobs.line import PRESET, write_autoencoder, write_latents, write_prepared


@pytest.mark.parametrize("space", ["MNI152", "centred"])
def test_latents_and_models_lie_in_the_space_of_their_cohort(tmp_path: Path, space: str) -> None:
    grid = replace(PRESET.grid, space=space)
    cohort = write_prepared(tmp_path / "prepared", grid=grid)
    write_autoencoder(tmp_path / "autoencoder")  # of brains in MNI space: any will do
    assert training_cohort(str(cohort.folder), PRESET.grid, "tiny").grid == grid
    write_latents(tmp_path / "latents", cohort, tmp_path / "autoencoder")
    latents = EncodedCohort.open(tmp_path / "latents")
    assert latents.space == space
    network = denoiser_config(PRESET, latents, PRESET.train_diffusion)
    assert describe_model("m", {}, PRESET, network, latents).grid == grid
    assert describe_gan("g", {}, gan_preset("tiny"), cohort).grid == grid


def test_centred_and_registered_volumes_are_different_cohorts(tmp_path: Path) -> None:
    cohort = write_prepared(tmp_path / "prepared")
    centred = replace(cohort, grid=replace(cohort.grid, space="centred"))
    assert centred.fingerprint != cohort.fingerprint
    looked_at = replace(cohort, table=cohort.table.assign(shows="brain", turned=0.0))
    assert looked_at.fingerprint == cohort.fingerprint
