"""Figures of anatomy: regional volumes of a release against people's, and what changes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ldm.anatomy.regions import KINDS, REGIONS
from ldm.errors import LdmError
from ldm.evaluation.effects import Set, effects
from ldm.evaluation.morphometry import age_and_sex, morphometry
from ray_jobs.evaluation.measuring.instruments import REGION
from ray_jobs.evaluation.measuring.measured import all_have, having

HEAD = "measured_intracranial_volume"
STRUCTURES = (
    "ventricular_volume",
    "grey_volume",
    "white_volume",
    "brain_stem_volume",
    "csf_volume",
    "intracranial_volume",
)


def kind_volumes(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """mm3 by kind of region, both sides together, (N,)."""
    found: dict[str, np.ndarray] = {}
    for region in REGIONS:
        column = rows[f"{REGION}{region.key}"].to_numpy(float)
        name = KINDS[region.kind].name
        found[name] = found[name] + column if name in found else column
    return found


def anatomy(real: pd.DataFrame, made: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Structures' and regions' volumes, adjusted for age and sex where both were asked; of those
    that the cohort shows (a virtual one has no brain stem)."""
    columns = [_volumes(rows) for rows in (real, made)]
    there = [name for name, values in columns[0].items() if np.ptp(values) > 0]
    adjusted = all(all_have(rows, "age", "sex") for rows in (real, made))
    covariates = [
        age_and_sex(rows["age"], list(rows["sex"])) if adjusted else np.zeros((len(rows), 1))
        for rows in (real, made)
    ]
    found = morphometry(
        *({name: one[name] for name in there} for one in columns),
        real_covariates=covariates[0],
        synthetic_covariates=covariates[1],
        seed=seed,
    )
    return {
        "adjusted": ["age", "sex"] if adjusted else [],
        "regions": {name: region.to_json() for name, region in found.items()},
    }


def age_and_sex_effects(real: pd.DataFrame, made: pd.DataFrame, seed: int) -> dict[str, Any] | None:
    """What age and sex do to every kind of region, of those who have both; None where it cannot be
    told: too few of them, or all of one sex."""
    tables = [having(rows, "age", "sex") for rows in (real, made)]
    if not all(len(rows) for rows in tables):
        return None
    both = [kind_volumes(rows) for rows in tables]
    there = [name for name in both[0] if all(np.ptp(one[name]) > 0 for one in both)]
    sets = [
        Set(
            volumes={name: one[name] for name in there},
            age=rows["age"].to_numpy(float),
            male=(rows["sex"] == "M").to_numpy(float),
            head=rows[HEAD].to_numpy(float),
        )
        for rows, one in zip(tables, both, strict=True)
    ]
    try:
        return effects(*sets, seed=seed).to_json()
    except LdmError:
        return None


def _volumes(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of the structures, by their measure's name, and of the kinds of regions."""
    structures = {name: rows[f"measured_{name}"].to_numpy(float) for name in STRUCTURES}
    return structures | kind_volumes(rows)
