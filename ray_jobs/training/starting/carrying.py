"""What a U-Net that is trained on goes on knowing of its covariates, for a cohort that has others.

The network receives every covariate as one input or, one-hot, as several. Those of the same name,
unit, levels and coding in both schemas are read as before; the weights of others begin at zero, as
if they had never been there, and what is missing now is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ldm.covariates import CovariateSchema
from ldm.covariates.covariate import Covariate
from ldm.networks import DenoiserConfig
from ray_jobs.errors import JobError


@dataclass(frozen=True, kw_only=True)
class Carried:
    """How the inputs of a network come from those of the one that it begins as.

    Attributes:
        places: for each input, which one of the earlier network it is; None for a new one.
        mean, std: what standardises each input.
        anew, left: names of covariates that the earlier network did not have, and that only it had.
        described: of a covariate that both have, what it was and is said to be, where they differ.
    """

    places: tuple[int | None, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    anew: tuple[str, ...]
    left: tuple[str, ...]
    described: dict[str, tuple[str, str]]

    @property
    def is_whole(self) -> bool:
        """Whether the inputs are the same, in the same order."""
        return not self.left and self.places == tuple(range(len(self.places)))


def carry(
    base: CovariateSchema, config: DenoiserConfig, schema: CovariateSchema, wanted: DenoiserConfig
) -> Carried:
    """The inputs of a network for `schema` that begins as one of `config` for `base`.

    A value in physical units reads as before though `schema` scales it by another range:
    s = (x - min) / (max - min), and the network reads (s - mean) / std.

    Args:
        wanted: standardises the inputs that are new.
    """
    known = {_kind(covariate): covariate for covariate in base.covariates}
    first = _firsts(base)
    places: list[int | None] = []
    means: list[float] = []
    stds: list[float] = []
    for new in schema.covariates:
        old = known.get(_kind(new))
        for number, _ in enumerate(new.inputs):
            here = len(places)
            if old is None:
                places.append(None)
                means.append(_mean(wanted, here))
                stds.append(_std(wanted, here))
                continue
            place = first[old.name] + number
            mean, std = _mean(config, place), _std(config, place)
            if old.is_continuous:
                width = new.maximum - new.minimum
                ratio = (old.maximum - old.minimum) / width
                mean, std = mean * ratio + (old.minimum - new.minimum) / width, std * ratio
            places.append(place)
            means.append(mean)
            stds.append(std)
    kinds = {_kind(covariate) for covariate in schema.covariates}
    return Carried(
        places=tuple(places),
        mean=tuple(means),
        std=tuple(stds),
        anew=tuple(c.name for c in schema.covariates if _kind(c) not in known),
        left=tuple(c.name for c in base.covariates if _kind(c) not in kinds),
        described={
            new.name: (old.description, new.description)
            for new in schema.covariates
            if (old := known.get(_kind(new))) and old.description != new.description
        },
    )


def check_same_covariates(base: CovariateSchema, schema: CovariateSchema) -> None:
    """Refuse latents of other covariates than the model's with schema `base`.

    Raises:
        JobError: other covariates, or in another order.
    """
    kinds = [[_kind(covariate) for covariate in s.covariates] for s in (base, schema)]
    if kinds[0] != kinds[1]:
        raise JobError(
            f"--from was trained with covariates {', '.join(base.names)}, the latents have "
            f"{', '.join(schema.names)}; expected the same, in order, of the same units, levels "
            "and coding"
        )


def _kind(covariate: Covariate) -> Any:
    return covariate.name, covariate.unit, covariate.levels, covariate.inputs


def _firsts(schema: CovariateSchema) -> dict[str, int]:
    """Which input of the network is the first of each covariate."""
    found, place = {}, 0
    for covariate in schema.covariates:
        found[covariate.name] = place
        place += len(covariate.inputs)
    return found


def _mean(config: DenoiserConfig, place: int) -> float:
    return config.condition_mean[place] if config.condition_mean else 0.0


def _std(config: DenoiserConfig, place: int) -> float:
    return config.condition_std[place] if config.condition_std else 1.0
