"""Brain volumes that are not what the covariate says: noted, and described as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import PAPER_SCHEMA, CovariateSchema
from ray_jobs.preparation.head_sizes import described
from ray_jobs.preparation.table import PARTICIPANTS


def table(count: int = 20, men_over_women: float = 1.0, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    sex = np.where(np.arange(count) % 2, "M", "F")
    volume = 1.2e6 * np.where(sex == "M", men_over_women, 1) * rng.normal(1, 0.02, count)
    return pd.DataFrame({"sex": sex, "brain_volume": volume, **columns})


class Asked:
    """The options of `prepare` that matter here."""

    def __init__(self, *, normalise: bool = False) -> None:
        self.normalise = normalise


def said(rows: pd.DataFrame, schema: CovariateSchema = PAPER_SCHEMA, **options: Any) -> Any:
    found, notes = described(schema, rows, Asked(**options))  # type: ignore[arg-type]
    return found["brain_volume"].description if "brain_volume" in found.names else None, notes


def test_measured_volumes_are_described_as_not_normalised() -> None:
    told, notes = said(table(men_over_women=1.12, brain_volume_from="segmenter"))
    assert told == "grey and white matter, not normalised for head size"
    assert len(notes) == 1
    assert "--normalise-brain-volume normalises it" in notes[0]


def test_what_was_normalised_keeps_its_description() -> None:
    rows = table(men_over_women=1.12, brain_volume_from="segmenter")
    assert said(rows, normalise=True) == (PAPER_SCHEMA["brain_volume"].description, [])


def test_measured_ones_among_the_tables_own_are_told() -> None:
    own = [PARTICIPANTS] * 18 + ["segmenter"] * 2
    told, notes = said(table(brain_volume_from=own))
    assert told == PAPER_SCHEMA["brain_volume"].description
    assert notes[0].startswith("brain_volume of 2 of 20 subjects is measured, which is not")


@pytest.mark.parametrize(("ratio", "doubted"), [(1.0, False), (1.03, False), (1.12, True)])
def test_the_tables_own_are_doubted_where_men_have_much_more(ratio: float, doubted: bool) -> None:
    _, notes = said(table(men_over_women=ratio))
    assert bool(notes) is doubted
    if doubted:
        assert "12% above women's" in notes[0] or "13% above women's" in notes[0]


def test_few_people_and_one_sex_tell_nothing() -> None:
    assert said(table(10, 1.2))[1] == []
    assert said(table(40, 1.2).query("sex == 'F'"))[1] == []


def test_a_schema_that_says_something_else_is_left_alone() -> None:
    own = CovariateSchema(
        tuple(
            replace(c, description="total brain, raw") if c.name == "brain_volume" else c
            for c in PAPER_SCHEMA.covariates
        )
    )
    assert said(table(brain_volume_from="segmenter"), own) == ("total brain, raw", [])
    fewer = CovariateSchema(PAPER_SCHEMA.covariates[:2])
    assert said(table(), fewer) == (None, [])
