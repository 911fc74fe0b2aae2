"""What the published model is: its covariates, its place in MNI space, and what is not known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from ldm.covariates import PAPER_SCHEMA
from ldm.covariates.copula import MarginalDistribution, Stratum
from ldm.covariates.distribution import CohortDistribution
from ldm.models.bundle.configs import network_configs, read_configs, volume_shape
from ldm.models.bundle.digests import digests
from ldm.models.bundle.fetch import NAME, PUBLISHED_MD5
from ldm.models.bundle.layout import AUTOENCODER, DENOISER
from ldm.models.bundle.source import folder_of
from ldm.models.description import DISTRIBUTION, ModelDescription
from ldm.untrusted import one_line
from ldm.volumes.grid import Grid

# How the network's voxel axes run: x to the left, y to the front, z up; "RAS" would run x to the
# right. From the authors' earlier saver (GenerativeModels, scripts/saver.py: x step -1); not
# confirmed on volumes of the published weights.
ORIENTATION = "LAS"
# Middle of the 160 x 224 x 160 volume (mm, MNI). That saver puts the first voxel of UniRes's whole
# frame at (96.48, -141.48, -156.55); the authors' laboratory cuts [16:176, 16:240, 96:256] out of
# it, so the middle is at (96.48 - 95.5, -141.48 + 127.5, -156.55 + 175.5).
CENTRE = (0.98, -13.98, 18.95)

# As the paper describes its cohort (section on data): the share of men, and the normal that, cut to
# 44..82 years, has mean 63.6 and standard deviation 7.5.
MALE, AGE_PARENT = 0.47, (63.68, 7.97)
KNOTS, END = 65, 1e-4

PUBLISHED_CARD: dict[str, Any] = {
    "name": "Brain imaging generation with latent diffusion models",
    "description": (
        "Whole-head T1w volumes at 1 mm in MNI space, drawn by the weights that Pinaya et al. "
        "2022 published in MONAI's model zoo."
    ),
    "license": "Apache-2.0",
    "attribution": (
        "W. H. L. Pinaya, P.-D. Tudosiu, J. Dafflon, P. F. da Costa, V. Fernandez, P. Nachev, "
        "S. Ourselin, M. J. Cardoso: Brain Imaging Generation with Latent Diffusion Models, "
        "DGM4MICCAI 2022, arXiv 2209.07162"
    ),
    "demo": False,
}
OTHER_CARD: dict[str, Any] = {
    "name": "An unpublished bundle of the paper's architecture",
    "license": "not stated",
    "demo": False,
}
TRAINING: dict[str, Any] = {
    "cohort": "UK Biobank, 31,740 healthy participants, 44-82 years (63.6 +- 7.5), 47 % male",
    "not_known": [
        "how the covariates of that cohort are spread and tied together is not published: "
        '"--covariates cohort" draws sex and age as the paper describes them (47 % male; a normal '
        "of mean 63.6 and sd 7.5 cut to 44-82 years) and both volumes evenly over the paper's "
        "ranges, each by itself, as the authors' demo did. Ventricles that grow with age are not "
        "in it: give a table of your own with --covariates FILE",
        f"orientation {ORIENTATION} and origin of the network's voxels come from the authors' "
        "earlier saver and the crop of their laboratory; they are not confirmed on the published "
        "weights",
        "the bounds of the quality check are the general ones",
    ],
}


def describe_bundle(source: str | Path) -> ModelDescription:
    """What the bundle at `source` is, without torch; its weights are only hashed.

    Raises:
        LdmError: it cannot be fetched, a file of it is missing or damaged, or it is no bundle of
            the paper's architecture.
    """
    folder, where = folder_of(source), str(source)
    metadata, inference = read_configs(folder, where)
    autoencoder, denoiser, schedule = network_configs(inference, where)
    found = {name: digests(folder / name) for name in (AUTOENCODER, DENOISER)}
    published = all(found[name]["md5"] == md5 for name, md5 in PUBLISHED_MD5.items())
    levels = len(autoencoder["channels"]) - 1 + len(denoiser["channels"]) - 1
    shape = volume_shape(metadata, 2**levels, where)
    distribution = paper_distribution()
    files = {n: {"sha256": d["sha256"], "bytes": d["bytes"]} for n, d in found.items()}
    latent = int(autoencoder["latent_channels"])
    return ModelDescription(
        name="pinaya2022" if published else "monai-bundle",
        card=_card(metadata, published=published),
        schema=PAPER_SCHEMA,
        distribution=distribution,
        grid=Grid(shape=shape, spacing=1.0, centre=CENTRE),
        autoencoder={**autoencoder, "mirrored": ORIENTATION[0] == "L"},
        denoiser=denoiser,
        schedule=schedule,
        latent_mean=(0.0,) * latent,
        latent_std=(1.0,) * latent,
        files=files | {DISTRIBUTION: _entry(distribution)},
    )


def paper_distribution() -> CohortDistribution:
    """The covariates as the paper describes its cohort, each by itself; see `TRAINING`."""
    scores = np.linspace(ndtri(END), -ndtri(END), KNOTS)
    shares = (ndtr(scores) - END) / (1 - 2 * END)  # of the drawn values below each knot, 0..1
    margins = []
    for covariate in PAPER_SCHEMA.continuous:
        low, high = covariate.minimum, covariate.maximum
        if covariate.name == "age":
            mean, sd = AGE_PARENT
            below, above = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
            values = mean + sd * ndtri(below + shares * (above - below))
        else:
            values = low + shares * (high - low)
        knots = tuple(float(f"{v:.8g}") for v in np.clip(values, low, high))
        margins.append(MarginalDistribution(end=END, knots=knots))
    alone = tuple(tuple(float(i == j) for j in range(len(margins))) for i in range(len(margins)))
    strata = tuple(
        Stratum(levels=(level,), probability=share, margins=tuple(margins), rank_correlations=alone)
        for level, share in (("F", 1 - MALE), ("M", MALE))
    )
    return CohortDistribution(schema=PAPER_SCHEMA, strata=strata)


def _card(metadata: Mapping[str, Any], *, published: bool) -> dict[str, Any]:
    bundle = {"bundle": NAME, "version": one_line(metadata.get("version", "not stated"))}
    if published:
        return {**PUBLISHED_CARD, "training": {**bundle, **TRAINING}}
    told = one_line(metadata.get("description", "nothing"))
    return {
        **OTHER_CARD,
        "description": (
            f"Drawn by a MONAI bundle that is not the published one: its weights are others than "
            f"those of {NAME}. It says of itself: {told}"
        ),
        "attribution": one_line(metadata.get("authors", "not stated")),
        "training": {
            **bundle,
            "bundle": "not the published one",
            **TRAINING,
            "cohort": "not known",
        },
    }


def _entry(distribution: CohortDistribution) -> dict[str, Any]:
    """The distribution shapes what is drawn, so its digest is in the model's fingerprint."""
    text = json.dumps(distribution.to_json(), sort_keys=True)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)}
