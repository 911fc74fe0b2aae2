"""A page of a prepared cohort: how many, of whom, what is doubtful, and the picture of them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ldm.covariates import Covariate
from manifests.numbers import counted, human_number
from manifests.storage.base import Store
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text, to_html
from ray_jobs.inspection.kinds import COHORT_MARK, document
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.viewing.site import StoredSite

PICTURE = "previews/prepared.png"
MOST_ROWS = 500  # of the table of subjects


def view_cohort(store: Store, place: str) -> StoredSite:
    """The page of the cohort at `place`, made for this view.

    Raises:
        JobError: none there, or one that is not complete.
    """
    cohort = PreparedCohort.open(place)
    mark = document(store, COHORT_MARK) or {}
    page = to_html(list(_blocks(cohort, mark, _picture(store))), f"Cohort {store.uri}")
    return StoredSite(store, made={"index.html": page.encode()})


def _picture(store: Store) -> bytes | None:
    try:
        return store.get(PICTURE)
    except KeyError:
        return None


def _blocks(cohort: PreparedCohort, mark: dict[str, Any], picture: bytes | None) -> Iterator[Block]:
    yield Heading("A prepared cohort", 1)
    shape = " x ".join(map(str, cohort.grid.shape))
    unusable = mark.get("unusable", [])
    yield Text(
        f"{counted(cohort.people('train'), 'person')} to train on, "
        f"{cohort.people('validation')} held out, {len(unusable)} unusable. "
        f"Volumes of {shape} voxels, {cohort.grid.spacing:g} mm, {cohort.grid.space} space. "
        "These may be data of real people: this page is served to you alone."
    )
    if picture is not None:
        yield Picture("prepared.png", picture, "Subjects as the networks will see them.")
    yield Heading("Covariates")
    yield Table(
        [("", "found"), *((c.name, spread(c, cohort.table)) for c in cohort.schema.covariates)]
    )
    if unusable:
        yield Heading("Unusable")
        yield Table([("who", "why"), *((e["participant_id"], e["reason"]) for e in unusable)])
    yield Heading("Subjects")
    names = ["participant_id", "split", *cohort.schema.names]
    shown = cohort.table[names].head(MOST_ROWS)
    yield Table([tuple(names), *(tuple(map(_cell, row)) for row in shown.itertuples(index=False))])
    if len(cohort.table) > MOST_ROWS:
        yield Text(f"The first {MOST_ROWS} of {len(cohort.table):,}.")


def spread(covariate: Covariate, table: pd.DataFrame) -> str:
    """`20.1 to 79.5 year, median 48`, or how many of each level."""
    values = table[covariate.name].dropna()
    if covariate.levels:
        counts = values.value_counts()
        return ", ".join(f"{level} {int(counts.get(level, 0)):,}" for level in covariate.levels)
    if not len(values):
        return "nobody has it"
    low, middle, high = (human_number(float(v)) for v in values.quantile([0, 0.5, 1]))
    return f"{low} to {high} {covariate.unit}, median {middle}".replace(" ,", ",")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else human_number(value)
    return str(value)
