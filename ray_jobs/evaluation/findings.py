"""From what was measured to figures, each with its number of volumes and its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ldm import noise
from ldm.anatomy.labels import NAMES
from ldm.covariates import Covariate, CovariateSchema
from ldm.errors import LdmError
from ldm.evaluation import conditioning, distances
from ldm.evaluation.coverage import coverage
from ldm.evaluation.halves import equal_halves
from ldm.evaluation.learning.age import FOLDS, transfer
from ldm.evaluation.learning.tissue import FEATURES, VOXELS, tissue_transfer
from ldm.evaluation.margins import margins, rank_correlations
from ldm.evaluation.privacy.audit import Space, Told, audit
from ldm.evaluation.responses import response
from ldm.evaluation.statistics import intervals
from ldm.split import person_of
from ray_jobs.errors import JobError
from ray_jobs.evaluation.anatomy import age_and_sex_effects, anatomy
from ray_jobs.evaluation.measuring.folds import Matched
from ray_jobs.evaluation.measuring.head_size import in_the_cohorts_convention
from ray_jobs.evaluation.measuring.instruments import TISSUE
from ray_jobs.evaluation.measuring.latent_space import Shown
from ray_jobs.evaluation.measuring.measured import HELD_OUT, TRAIN, Measured, all_have, having
from ray_jobs.evaluation.measuring.networks import NETWORKS
from ray_jobs.evaluation.measuring.pairs import SIMILARITIES
from ray_jobs.evaluation.measuring.tables import arrays
from ray_jobs.evaluation.sources import REAL
from ray_jobs.evaluation.spectra import spectra
from ray_jobs.evaluation.sweeps import MEASURE_OF


@dataclass(kw_only=True)
class Features:
    """Features of the volumes of every source, from one network.

    Attributes:
        name: of the network, for tables.
        of: (N, F) by source; real ones standardise our own network's.
    """

    name: str
    of: dict[str, np.ndarray]


def own_features(measured: dict[str, Measured]) -> Features:
    """The segmenter's, each in standard deviations of the real ones, as their units say nothing."""
    found = {label: arrays(m.whole["features"], "<f4") for label, m in measured.items()}
    middle, spread = found[REAL].mean(axis=0), found[REAL].std(axis=0)
    kept = spread > 1e-6
    return Features(
        name="segmenter",
        of={k: ((v - middle)[:, kept] / spread[kept]).astype(np.float64) for k, v in found.items()},
    )


def others_features(measured: dict[str, Measured]) -> list[Features]:
    """Those of the networks that were asked for, as they are."""
    found = []
    for column, name in NETWORKS.items():
        real = measured[REAL].whole
        if column in real and not real[column].isna().any():
            of = {label: arrays(m.whole[column], "<f4") for label, m in measured.items()}
            found.append(Features(name=name, of={k: v.astype(np.float64) for k, v in of.items()}))
    return found


def reckon(
    measured: dict[str, Measured],
    matched: Matched | None,
    schema: CovariateSchema,
    command: str,
    *,
    seed: int,
    shown: Shown | None = None,
) -> dict[str, Any]:
    """All figures of an evaluation, as JSON holds them.

    Args:
        matched: the volumes' folds with the people's; without them no audit passes.
        shown: what the model's training was shown, where its latents were given.

    Raises:
        JobError: a source of which nearly every volume was refused.
    """
    for label, found in measured.items():
        if len(found.whole) < 2 * FOLDS:
            reason = found.refused["error"].iloc[0] if len(found.refused) else "too few"
            raise JobError(
                f"{label}: {len(found.whole)} of {len(found.rows)} volumes could be measured "
                f"({reason}); expected at least {2 * FOLDS}",
                exit_code=1,
            )
    convention = in_the_cohorts_convention(measured)
    features = [own_features(measured), *others_features(measured)]
    releases = [label for label in measured if label != REAL]
    return {
        "format": "brainpress-evaluation",
        "version": 1,
        "command": command,
        "seed": seed,
        "head_size_factor": convention.factor if convention else None,
        "head_size_normalised": convention.normalised if convention else None,
        "volumes": {
            label: {"measured": len(m.whole), "refused": len(m.refused)}
            for label, m in measured.items()
        },
        "table_1": {label: _table_1(label, measured, features, seed) for label in measured},
        "spectrum": spectra(measured, seed=seed),
        "conditioning": {
            label: _conditioning(found.whole, schema, seed) for label, found in measured.items()
        },
        "responses": {label: _responses(found.whole, schema) for label, found in measured.items()},
        "coverage": {
            label: coverage(features[0].of[REAL], features[0].of[label], seed=seed).to_json()
            for label in releases
        },
        "morphometry": {
            label: anatomy(measured[REAL].whole, measured[label].whole, seed) for label in releases
        },
        "effects": {
            label: age_and_sex_effects(measured[REAL].whole, measured[label].whole, seed)
            for label in releases
        },
        "covariates": {
            label: _covariates(measured[REAL].whole, measured[label].whole, schema, seed)
            for label in releases
        },
        "transfer": {
            label: _transfer(measured, features[0], label, seed)
            for label in releases
            if all_have(measured[label].whole, "age")
        },
        "tissue": {label: _tissue(measured, label, seed) for label in releases},
        "privacy": {
            label: _privacy(measured, matched, shown, features[0], label) for label in releases
        },
    }


def _table_1(
    label: str, measured: dict[str, Measured], features: list[Features], seed: int
) -> dict[str, Any]:
    pairs = measured[label].pairs
    found: dict[str, Any] = {}
    for network in features:
        synthetic, real = network.of[label], network.of[REAL]
        if label == REAL:  # the real cohort against itself: two halves drawn by chance
            order = noise.generator(noise.EVALUATION, seed, len(real)).permutation(len(real))
            synthetic, real = real[order[::2]], real[order[1::2]]
        found[f"fid_{network.name.lower()}"] = distances.frechet_distance(
            synthetic, real, seed=seed
        ).to_json()
        found[f"kid_{network.name.lower()}"] = distances.kernel_distance(
            synthetic, real, seed=seed
        ).to_json()
        if label != REAL:
            found[f"halves_{network.name.lower()}"] = equal_halves(
                synthetic, real, seed=seed
            ).to_json()
    for name in SIMILARITIES:
        mean = intervals.mean_over_pairs(pairs[name], pairs["first"], pairs["second"])
        found[name] = {**mean.to_json(), "pairs": len(pairs)}
    return found


def _conditioning(rows: pd.DataFrame, schema: CovariateSchema, seed: int) -> dict[str, Any]:
    """Of a release, measured against asked; of the real cohort, the tools against the truth, on
    subjects that no tool was trained on."""
    rows = _unseen(rows)
    found: dict[str, Any] = {}
    for covariate in schema.covariates:
        known = having(rows, covariate.name)
        if not len(known):
            continue
        asked = known[covariate.name]
        if covariate.name in MEASURE_OF and asked.nunique() > 1:
            measured = known[f"measured_{MEASURE_OF[covariate.name]}"]
            found[covariate.name] = conditioning.relation(asked, measured, seed=seed).to_json()
        elif covariate.name == "sex" and set(asked) == {"F", "M"}:
            scores = known["measured_male"]
            found["sex"] = conditioning.agreement(
                list(asked), scores, positive="M", seed=seed
            ).to_json()
    return found


def _responses(rows: pd.DataFrame, schema: CovariateSchema) -> dict[str, Any]:
    """What moves each covariate that can be measured, of all that were asked; of the same volumes
    as `_conditioning`. None where the volumes are too few, or do not vary enough to tell."""
    rows = having(_unseen(rows), *schema.names)
    if not len(rows):
        return {}
    asked = {name: values for c in schema.covariates for name, values in _inputs(c, rows)}
    found = {}
    for name in schema.names:
        if name in MEASURE_OF:
            try:
                one = response(asked, rows[f"measured_{MEASURE_OF[name]}"])
            except LdmError:
                return {}
            found[name] = one.to_json()
    return found


def _inputs(covariate: Covariate, rows: pd.DataFrame) -> Iterator[tuple[str, list[float]]]:
    """The network's inputs of a covariate and their values; of a one-hot one all but the first
    level's, which follows from the others."""
    codes = [covariate.code(value) for value in rows[covariate.name]]
    for place, name in enumerate(covariate.inputs):
        if place or not covariate.is_one_hot:
            yield name, [code[place] for code in codes]


def _unseen(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the real cohort those whom no tool was trained on; of a release all."""
    held_out = rows["group"] == HELD_OUT
    return rows[held_out] if held_out.any() else rows


def _covariates(
    real: pd.DataFrame, made: pd.DataFrame, schema: CovariateSchema, seed: int
) -> dict[str, Any]:
    """What was asked against who the cohort is: margins, and rank correlations."""
    names = [name for name in schema.names if len(having(made, name)) and len(having(real, name))]
    made, real = having(made, *names), having(real, *names)
    if not names or not len(made) or not len(real):
        return {"margins": {}, "ties": []}
    release, cohort = ({name: list(rows[name]) for name in names} for rows in (made, real))
    return {
        "margins": {
            name: margin.to_json() for name, margin in margins(release, cohort, seed=seed).items()
        },
        "ties": [one.to_json() for one in rank_correlations(release, cohort)],
    }


def _transfer(
    measured: dict[str, Measured], features: Features, label: str, seed: int
) -> dict[str, Any]:
    real, made = measured[REAL].whole, measured[label].whole
    known = real["age"].notna().to_numpy()
    found = transfer(
        features.of[REAL][known],
        real["age"].to_numpy(float)[known],
        features.of[label],
        made["age"].to_numpy(float),
        seed=seed,
    )
    return found.to_json()


def _tissue(measured: dict[str, Measured], label: str, seed: int) -> dict[str, Any]:
    real, made = (
        arrays(measured[of].whole[TISSUE], "<f2").reshape(-1, VOXELS, FEATURES + 1)
        for of in (REAL, label)
    )
    return tissue_transfer(real, made, NAMES, seed=seed).to_json()


def _privacy(
    measured: dict[str, Measured],
    matched: Matched | None,
    shown: Shown | None,
    features: Features,
    label: str,
) -> dict[str, Any]:
    """The audit of a release, the nearest volumes and subjects by name."""
    told = privacy_spaces(measured, matched, shown, features, label)
    found = audit(*(space for space, _ in told)).to_json()
    made, subjects = measured[label].whole, {space.name: names for space, names in told}
    for space in found["spaces"]:
        names = subjects[space["name"]]
        space["closest"] = [
            {**near, "volume": made["name"][near["synthetic"]], "subject": names[near["training"]]}
            for near in space["closest"]
        ]
    return found


def privacy_spaces(
    measured: dict[str, Measured],
    matched: Matched | None,
    shown: Shown | None,
    features: Features,
    label: str,
) -> list[tuple[Told, list[str]]]:
    """Every way in which the audit holds a release against people, and the names of those whom it
    was trained on as that way counts them."""
    real, made = measured[REAL].whole, measured[label].whole
    trained = list(measured[REAL].of(TRAIN)["name"])
    told: list[tuple[Told, list[str]]] = [
        (space, trained) for space in _features_and_images(measured, features, label)
    ]
    if shown is not None:
        told.append((shown.space(real, made), list(shown.names)))
    if matched is not None:
        told.append((matched.folds(measured, label), list(real["name"])))
    return told


def _features_and_images(
    measured: dict[str, Measured], features: Features, label: str
) -> tuple[Space, Space]:
    """A release, the training and the held-out subjects in feature and in image space."""
    real, made = measured[REAL].whole, measured[label].whole
    train, held_out = (np.flatnonzero(real["group"] == group) for group in (TRAIN, HELD_OUT))
    image, mirrored = (arrays(real[name], "<f4") for name in ("image", "mirrored"))
    persons = tuple(person_of(name) for name in real["name"][train])
    return (
        # The segmenter's features are those of a volume and its mirror image.
        Space(
            name="features",
            training=features.of[REAL][train],
            held_out=features.of[REAL][held_out],
            synthetic=features.of[label],
            persons=persons,
        ),
        Space(
            name="images",
            training=image[train],
            held_out=image[held_out],
            synthetic=arrays(made["image"], "<f4"),
            held_out_mirrored=mirrored[held_out],
            synthetic_mirrored=arrays(made["mirrored"], "<f4"),
            persons=persons,
        ),
    )
