"""What a network is given of a cohort's covariates, where some are missing or have many levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import Covariate, CovariateSchema
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.training.conditions import (
    check_missing,
    cohort_distribution,
    conditions,
    tell_distribution,
)
from ray_jobs.training.diffusion_job import denoiser_config
from ray_jobs.training.starting.carrying import carry, check_same_covariates
from tests.ray_jobs.line import PRESET, write_autoencoder, write_latents, write_prepared

DX = Covariate(name="dx", kind="categorical", levels=("CN", "MCI", "AD"), coding="one-hot")
DROPPING = replace(PRESET.train_diffusion, condition_dropout=0.1)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> EncodedCohort:
    """Encoded subjects who have a diagnosis too; the first lacks it, the second their age."""
    folder = tmp_path_factory.mktemp("line")
    cohort = write_prepared(folder / "prepared", 16)
    table = cohort.table.assign(dx=[DX.levels[k % 3] for k in range(len(cohort.table))])
    table.loc[0, "dx"] = None
    table.loc[1, "age"] = np.nan
    schema = CovariateSchema((*cohort.schema.covariates, DX))
    cohort = replace(cohort, table=table, schema=schema)
    cohort.write([])
    write_autoencoder(folder / "run")
    (folder / "latents").mkdir()
    write_latents(folder / "latents", cohort, folder / "run")
    return EncodedCohort.open(folder / "latents")


def test_a_missing_covariate_is_nan_at_its_inputs_alone(latents: EncodedCohort) -> None:
    found = np.concatenate([conditions(latents, split)[:, 0] for split in ("train", "validation")])
    names = latents.schema.inputs
    assert found.shape == (16, len(names))
    assert names[-3:] == ("dx=CN", "dx=MCI", "dx=AD")
    assert sorted(np.isnan(found).sum(axis=0).tolist()) == [0, 0, 0, 1, 1, 1, 1]
    known = found[~np.isnan(found[:, -1]), -3:]
    assert (known.sum(axis=1) == 1).all()


def test_training_without_dropout_refuses_subjects_who_lack_a_covariate(
    latents: EncodedCohort,
) -> None:
    with pytest.raises(JobError, match=r"2 of 16 subjects lack a covariate .* --condition-dropout"):
        check_missing(latents, PRESET.train_diffusion)
    check_missing(latents, DROPPING)
    whole = replace(latents, table=latents.table.dropna())
    check_missing(whole, PRESET.train_diffusion)


def test_the_network_has_an_input_a_level_and_statistics_of_those_who_are_known(
    latents: EncodedCohort,
) -> None:
    chosen = replace(PRESET, standardise_conditions=True)
    config = denoiser_config(chosen, latents, DROPPING)
    assert config.conditions == len(latents.schema.inputs) == 7
    assert np.isfinite([*config.condition_mean, *config.condition_std]).all()
    assert config.null_condition is not None
    scaled = conditions(latents, "train")[:, 0]
    read = (scaled - np.array(config.condition_mean)) / np.array(config.condition_std)
    assert np.nanmin(read) > config.null_condition + 0.5


def test_one_left_out_alone_never_reads_as_a_rare_value(latents: EncodedCohort) -> None:
    lopsided = latents.table.assign(sex="M")
    lopsided.loc[lopsided.index[latents.table["split"] == "train"][0], "sex"] = "F"
    rare = replace(latents, table=more_men(lopsided, 5))
    config = denoiser_config(replace(PRESET, standardise_conditions=True), rare, DROPPING)
    sex = (0 - config.condition_mean[0]) / config.condition_std[0]
    assert config.null_condition is not None
    assert config.null_condition < sex - 0.5


def more_men(table: pd.DataFrame, times: int) -> pd.DataFrame:
    men = table[table["sex"] == "M"]
    return pd.concat([table, *[men] * times], ignore_index=True)


def test_covariates_go_together_as_in_those_who_have_them_all(
    latents: EncodedCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    row = cohort_distribution(latents).sample(np.random.default_rng(1))
    assert set(row) == set(latents.schema.names)
    tell_distribution(latents)
    told = capsys.readouterr().err
    assert "too few people for a distribution of their own, drawn as others are: sex F (" in told
    assert "dx AD (5 people)" in told
    few = replace(latents, table=latents.table.assign(age=[np.nan] * 10 + [60.0] * 6))
    with pytest.raises(JobError, match="6 of 16 subjects have every covariate: expected"):
        cohort_distribution(few)


def test_a_run_carries_on_with_another_cohorts_ranges_and_the_same_levels(
    latents: EncodedCohort,
) -> None:
    config = denoiser_config(replace(PRESET, standardise_conditions=True), latents, DROPPING)
    same = carry(latents.schema, config, latents.schema, config)
    assert same.is_whole
    assert (same.mean, same.std) == (config.condition_mean, config.condition_std)
    old = replace(DX, coding="")
    other = CovariateSchema((*latents.schema.covariates[:-1], old))
    with pytest.raises(JobError, match="of the same units, levels and coding"):
        check_same_covariates(latents.schema, other)
    assert carry(latents.schema, config, other, config).anew == ("dx",)
