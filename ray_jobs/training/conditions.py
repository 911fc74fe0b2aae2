"""The covariates of encoded subjects: what a network is given of them, how they go together."""

from __future__ import annotations

import sys

import numpy as np

from ldm.covariates import CovariateSchema
from ldm.covariates.distribution import FEWEST, CohortDistribution
from ldm.covariates.strata import scarce
from ldm.training.config import TrainingConfig
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError


def conditions(
    latents: EncodedCohort, split: str, schema: CovariateSchema | None = None
) -> np.ndarray:
    """Covariates of one split, scaled by the latents' schema or by `schema`: (N, 1, K), or
    (N, copies, K) where those of copies differ; NaN where a subject lacks one."""
    schema = schema or latents.schema
    return np.stack([
        np.stack([schema.scale_known(row) for row in rows]) for rows in latents.rows(split)
    ])  # fmt: skip


def check_missing(latents: EncodedCohort, config: TrainingConfig) -> None:
    """Refuse subjects who lack a covariate where the network does not learn to do without.

    Raises:
        JobError: some lack one, and no condition is ever dropped.
    """
    lacking = int(latents.table[list(latents.schema.names)].isna().any(axis=1).sum())
    if lacking and not config.condition_dropout:
        raise JobError(
            f"{lacking} of {len(latents.table)} subjects lack a covariate (prepare --missing "
            "leave-out): the network must learn what one that is left out looks like; give "
            "--condition-dropout 0.1, or prepare with --missing drop-subject"
        )


def cohort_distribution(latents: EncodedCohort) -> CohortDistribution:
    """The joint distribution of the covariates of all usable subjects who have them all."""
    whole = latents.table.dropna(subset=list(latents.schema.names))
    columns = {name: whole[name].to_numpy() for name in latents.schema.names}
    if len(whole) < min(FEWEST, len(latents.table)):
        raise JobError(
            f"{len(whole)} of {len(latents.table)} subjects have every covariate: expected at "
            f"least {FEWEST} to tell how they go together; leave out the one that most lack"
        )
    return CohortDistribution.fit(latents.schema, columns)


def tell_distribution(latents: EncodedCohort) -> None:
    """Say where the distribution of the covariates, which releases draw from, is a makeshift.

    Raises:
        JobError, LdmError: it cannot be fitted.
    """
    distribution = cohort_distribution(latents)
    whole = latents.table.dropna(subset=list(latents.schema.names))
    columns = {name: whole[name].to_numpy(dtype=object) for name in latents.schema.names}
    if few := scarce(latents.schema, columns):
        print(
            "too few people for a distribution of their own, drawn as others are: "
            f"{', '.join(few)}",
            file=sys.stderr,
        )
    if distribution.minors:
        print(
            f"too many combinations of levels: {', '.join(distribution.minors)} are drawn without "
            "regard to each other",
            file=sys.stderr,
        )
