"""Whether brain volumes are normalised for head size, as the covariate's description says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from ldm.covariates import CovariateSchema
from ray_jobs.preparation.options import Options
from ray_jobs.preparation.table import PARTICIPANTS

BRAIN, FROM = "brain_volume", "brain_volume_from"
SAID, RAW = "normalised for head size", "not normalised for head size"
FEWEST = 8  # of each sex, whose means are compared
# Men's over women's brain volume: raw by a tenth or more, normalised by next to nothing.
MOST = 1.06
OPTION = "--normalise-brain-volume"


def described(
    schema: CovariateSchema, table: pd.DataFrame, options: Options
) -> tuple[CovariateSchema, list[str]]:
    """The schema, whose brain_volume says what it is, and a line for whatever is doubtful of it.

    Args:
        table: of the usable subjects; where volumes were measured, with `FROM`.
    """
    if BRAIN not in schema.names or options.normalise or not _says_normalised(schema):
        return schema, []
    measured = int((table[FROM] != PARTICIPANTS).sum()) if FROM in table else 0
    if not measured:
        return schema, list(_raw_after_all(table))
    if measured < len(table):
        return schema, [
            f"{BRAIN} of {measured} of {len(table)} subjects is measured, which is not normalised "
            f"for head size, that of the others is from the table: they are mixed unless those are "
            f"not normalised either; then {OPTION} normalises all, and else leave the column out"
        ]
    told = schema[BRAIN].description.replace(SAID, RAW)
    changed = tuple(
        replace(c, description=told) if c.name == BRAIN else c for c in schema.covariates
    )
    return CovariateSchema(changed), [
        f"{BRAIN} is as measured, not normalised for head size, and says so: it follows sex and "
        f"stature; {OPTION} normalises it, as the paper's is"
    ]


def _says_normalised(schema: CovariateSchema) -> bool:
    told = schema[BRAIN].description
    return SAID in told and RAW not in told


def _raw_after_all(table: pd.DataFrame) -> Iterator[str]:
    """Where the table's own volumes differ between the sexes as raw ones do."""
    if "sex" not in table:
        return
    known = table.dropna(subset=["sex", BRAIN])
    of = {sex: known[BRAIN][known["sex"] == sex] for sex in ("F", "M")}
    if min(map(len, of.values())) < FEWEST:
        return
    ratio = float(of["M"].mean() / of["F"].mean())
    if ratio > MOST:
        yield (
            f"men's {BRAIN} is {ratio - 1:.0%} above women's, as of volumes that are not "
            f"normalised for head size, which the covariate says it is: {OPTION} does it, or "
            "describe it otherwise (--covariates)"
        )
