"""The table of a prepared cohort: a row a usable subject, its volumes measured or normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ldm.anatomy.head_size import head_scale, normalised
from ldm.contrasts import MODALITY, SUFFIXES
from ldm.covariates import CovariateSchema
from ldm.covariates.covariate import Covariate
from ldm.errors import LdmError
from ldm.measuring import MEASURED
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.reading import INTRACRANIAL
from ray_jobs.preparation.bids.subjects import Subject, in_validation
from ray_jobs.preparation.cohort import PROVENANCE, VOLUMES
from ray_jobs.preparation.options import Options

PARTICIPANTS = "participants.tsv"


def heads_are_known(subjects: list[Subject]) -> bool:
    """Whether the table has the intracranial volume of every usable subject.

    All or none: volumes of two definitions are not mixed in one cohort.
    """
    usable = [subject for subject in subjects if subject.reason is None]
    return bool(usable) and all(subject.intracranial is not None for subject in usable)


def with_known_heads(subjects: list[Subject]) -> list[Subject]:
    """`subjects`; one whose intracranial volume is no head's gets that as its reason."""
    return [_with_known_head(subject) for subject in subjects]


def _with_known_head(subject: Subject) -> Subject:
    if subject.reason is None and subject.intracranial is not None:
        try:
            head_scale(subject.intracranial)
        except LdmError as error:
            return replace(subject, reason=str(error))
    return subject


def subject_table(
    subjects: list[Subject],
    done: Mapping[str, Mapping[str, Any]],
    schema: CovariateSchema,
    validation: float,
    options: Options,
    bids: Path,
) -> pd.DataFrame:
    """A row for each subject in `done` that has a volume.

    `subjects` are those whose image was used (see `resolved`), `bids` their dataset. With
    `options.engine`, `<covariate>_from` says where a volume comes from: participants.tsv or the
    engine. With `options.normalise`, `head_scale` is the factor in brain_volume, and
    `head_scale_from` tells intracranial_volume or registration.
    """
    known = heads_are_known(subjects)
    rows = []
    for subject in subjects:
        name = subject.participant_id
        if subject.reason is not None or "sha256" not in done[name]:
            continue
        row = {
            "participant_id": name,
            "split": "validation" if in_validation(name, validation) else "train",
            "volume": f"{VOLUMES}/{name}.npy",
            "sha256": done[name]["sha256"],
        }
        told = {
            "session": subject.session,
            "image": str(subject.image.relative_to(bids)) if subject.image else None,
            "notes": [*subject.notes, *done[name].get("notes", ())],
        }
        values = _volumes(subject, done[name], schema, options, known)
        values |= {MODALITY: subject.suffix} if len(options.choice.suffixes) > 1 else {}
        rows.append({**row, **values, **told})
    columns = ["participant_id", "split", "volume", "sha256", *schema.names]
    columns += [MODALITY] if len(options.choice.suffixes) > 1 else []
    return pd.DataFrame(rows, columns=[*columns, *_told(schema, options), *PROVENANCE])


def without_modality(schema: CovariateSchema, suffixes: tuple[str, ...]) -> CovariateSchema:
    """The covariates that are read from the tables: of several contrasts not `modality`, which the
    names of the images tell.

    Raises:
        JobError: the schema has a covariate of that name that is something else.
    """
    if len(suffixes) < 2 or MODALITY not in schema.names:
        return schema
    if not set(schema[MODALITY].levels) or not set(schema[MODALITY].levels) <= set(SUFFIXES):
        raise JobError(
            f"--suffix {','.join(suffixes)}: the covariate {MODALITY} is then the contrast of each "
            "image, and your schema has another of that name; name yours otherwise, and give it "
            "its column by --column"
        )
    return CovariateSchema(tuple(c for c in schema.covariates if c.name != MODALITY))


def with_modality(
    schema: CovariateSchema, table: pd.DataFrame, suffixes: tuple[str, ...]
) -> tuple[CovariateSchema, pd.DataFrame, tuple[str, ...]]:
    """The covariates with the contrast last, the table, and the contrasts that are there.

    Of one contrast the table has no column for it.
    """
    if len(suffixes) < 2:
        return schema, table, suffixes
    there = tuple(suffix for suffix in suffixes if suffix in set(table[MODALITY]))
    if len(there) < 2:
        return schema, table.drop(columns=MODALITY), there
    modality = Covariate(
        name=MODALITY, kind="categorical", levels=there, description="contrast of the image"
    )
    return CovariateSchema((*schema.covariates, modality)), table, there


def _told(schema: CovariateSchema, options: Options) -> list[str]:
    """The columns that say where volumes come from."""
    told = [f"{name}_from" for name in MEASURED if options.engine and name in schema.names]
    return [*told, "head_scale", "head_scale_from"] if options.normalise else told


def _volumes(
    subject: Subject,
    outcome: Mapping[str, Any],
    schema: CovariateSchema,
    options: Options,
    heads_known: bool,
) -> dict[str, Any]:
    measured = {name: float(outcome["measured"][name]) for name in subject.unmeasured}
    # One that is left out is NaN, or None where it would be a level, as Parquet gives it back.
    unknown = {c.name: math.nan if c.is_continuous else None for c in schema.covariates}
    values: dict[str, Any] = {**unknown, **subject.covariates, **measured}
    for name in MEASURED:
        values[f"{name}_from"] = options.engine if name in measured else PARTICIPANTS
    if options.normalise:
        intracranial = subject.intracranial
        if heads_known and intracranial is not None:
            values |= {"head_scale": head_scale(intracranial), "head_scale_from": INTRACRANIAL}
        else:
            values |= {"head_scale": outcome["head_scale"], "head_scale_from": "registration"}
        raw = float(values["brain_volume"])
        if not math.isnan(raw):
            values["brain_volume"] = round(normalised(raw, values["head_scale"]))
    return values
