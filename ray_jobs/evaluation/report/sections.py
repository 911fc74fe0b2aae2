"""What the report of an evaluation says: its first page, Table 1, and the order of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ldm.covariates import CovariateSchema
from ldm.volumes import previews
from ray_jobs.evaluation.measuring.folds import Matched
from ray_jobs.evaluation.measuring.latent_space import Shown
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.measuring.networks import NETWORKS
from ray_jobs.evaluation.report.answers import conditioning, one_varied
from ray_jobs.evaluation.report.cautions import meanings
from ray_jobs.evaluation.report.likeness import age_and_sex, covariates, diversity, morphometry
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.privacy import privacy, verdict
from ray_jobs.evaluation.report.sharpness import sharpness, told
from ray_jobs.evaluation.report.shown import noted, shown
from ray_jobs.evaluation.sources import REAL, Source
from ray_jobs.evaluation.sweeps import Sweep

# Pinaya et al. 2022, table 1: FID, MS-SSIM, 4-G-R-SSIM.
PAPER = (
    ("LSGAN", "0.0231", "0.9997", "0.9969"),
    ("VAE-GAN", "0.1576", "0.9671", "0.8719"),
    ("LDM, 1000 steps", "0.0076", "0.6555", "0.3883"),
    ("LDM + DDIM, 50 steps", "0.0080", "0.6704", "0.3957"),
    ("real images", "0.0005", "0.6536", "0.3909"),
)
MOSAIC, SHOWN = "volumes.png", 6  # a picture of volumes, so many of each source


def headlines(findings: dict[str, Any], main: str) -> Iterator[tuple[str, str]]:
    """The figures of the release `main` that a reader asks for first: what, and found."""
    halves = findings["table_1"][main]["halves_segmenter"]
    yield (
        "FID over that of real halves, segmenter's features, equal n",
        f"{shown(halves['ratio'])}: {halves['synthetic']['value']:.3g}, of real halves "
        f"{halves['real']['value']:.3g}{noted(halves['real'])}",
    )
    if found := findings["spectrum"]:
        yield from told(found, main)
    for name, relation in findings["conditioning"][main].items():
        if "r" in relation:
            yield (
                f"{name} measured against asked",
                f"r {shown(relation['r'])}, slope {shown(relation['slope'])}",
            )
        else:
            yield f"{name} classified as asked", shown(relation["accuracy"])
    yield "privacy audit", verdict(findings["privacy"][main])


def headline_figures(findings: dict[str, Any], main: str) -> Iterator[tuple[str, Any]]:
    """The figures from which `headlines` are written, by where they stand in the findings."""
    yield "halves", findings["table_1"][main]["halves_segmenter"]
    if found := findings["spectrum"]:
        yield "told_apart", found["told_apart"][main]
    yield "conditioning", findings["conditioning"][main]


def sections(
    findings: dict[str, Any],
    measured: dict[str, Measured],
    sources: dict[str, Source],
    schema: CovariateSchema,
    sweeps: list[Sweep],
    matched: Matched | None,
    copies: Shown | None = None,
) -> Iterator[Block]:
    """The whole report; the first source after the real one is its subject."""
    releases = [label for label in sources if label != REAL]
    main = releases[0]
    yield Heading(f"Evaluation of {main}", 1)
    volumes = findings["volumes"]
    counted = ", ".join(f"{label} {volumes[label]['measured']}" for label in sources)
    refused = sum(entry["refused"] for entry in volumes.values())
    told = f"; {refused} that the segmenter refuses are left out" if refused else ""
    yield Text(
        f"Volumes: {counted}{told}. Every figure has its 95 % interval and the number of volumes "
        "it rests on. What the real cohort's own two halves, or people whom no tool was trained "
        "on, give by the same figure stands beside it."
    )
    if findings.get("heads"):
        yield Text(
            "The volumes are whole heads. Every figure, of releases and of real people, is of the "
            "brain that deepbet cuts out of each; faces, scalps and skulls were not looked at."
        )
    yield Table([("", "found"), *headlines(findings, main)])
    if notes := meanings(findings):
        yield Text(f"Notes beside figures. {'. '.join(notes)}.")
    yield Picture(
        MOSAIC, mosaic(sources), f"Real people and {', '.join(releases)}.", in_mosaic(sources[main])
    )
    yield from _table_1(findings)
    yield from sharpness(findings["spectrum"], releases)
    yield from conditioning(findings, measured, schema, releases)
    yield from one_varied(sweeps, schema)
    yield from morphometry(findings, measured, releases)
    yield from age_and_sex(findings, releases)
    yield from diversity(findings, releases)
    yield from covariates(findings, releases)
    yield from privacy(findings, measured, matched, copies, releases)
    yield Heading("How")
    yield Text(f"Seed {findings['seed']}: {findings['command']}")


def _table_1(findings: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Table 1")
    names = {
        **{f"fid_{network}": f"FID, {name}" for network, name in NETWORKS.items()},
        "fid_segmenter": "FID, segmenter",
        "kid_segmenter": "KID, segmenter",
        "ms_ssim": "MS-SSIM",
        "four_g_r_ssim": "4-G-R-SSIM",
    }
    table = findings["table_1"]
    columns = [name for name in names if name in table[REAL]]
    yield Table(
        [
            ("", *(names[name] for name in columns)),
            *((label, *(shown(row[name]) for name in columns)) for label, row in table.items()),
        ]
    )
    fid = table[REAL]["fid_segmenter"]
    yield Text(
        "FID and KID: low is good. MS-SSIM and 4-G-R-SSIM: of two different volumes, near the "
        "real images' is good, higher is too little diversity. Real: one random half of the cohort "
        f"against the other, {fid['n']} and {fid['n_reference']} people, so its FID is biased "
        "upwards more than the others': the next table has both at the same n. FID is biased at "
        f"small n: the covariances have rank {fid['rank']} of {fid['dimensions']} features there; "
        "KID is not. n of the similarities is the number of volumes in the pairs."
    )
    yield from _halves(table)
    for network, file in findings.get("networks", {}).items():
        yield Text(f"{NETWORKS[network]}: {file['file']}, sha256 {file['sha256']}.")
    yield Text(
        "The paper's own table, of 31,740 people of UK Biobank at 1 mm, on MedicalNet's features. "
        "Other people, other voxels, other features: never one against the other."
    )
    yield Table([("Pinaya et al. 2022", "FID", "MS-SSIM", "4-G-R-SSIM"), *PAPER])


def _halves(table: dict[str, Any]) -> Iterator[Block]:
    networks = {"halves_segmenter": "segmenter"}
    networks |= {f"halves_{network}": name for network, name in NETWORKS.items()}
    rows: list[tuple[str, ...]] = [
        ("FID at equal n", "features", "to a real half", "of two real halves", "ratio")
    ]
    for key, network in networks.items():
        for label, row in table.items():
            if key in row:
                cells = (shown(row[key][name]) for name in ("synthetic", "real", "ratio"))
                rows.append((label, network, *cells))
    yield Table(rows)
    yield Text(
        "As many volumes as a random half of the real people has, against the other half: means "
        "over random halves. A ratio of 1: as near to real people as they are to each other."
    )


def mosaic(sources: dict[str, Source]) -> bytes:
    """A picture of a few volumes of every source."""
    volumes, titles = [], []
    for label, source in sources.items():
        chosen = _chosen(source)
        volumes += [source.read(item) for item in chosen]
        titles += [label] * len(chosen)
    return previews.mosaic(volumes, titles, planes=("axial", "coronal"))


def in_mosaic(source: Source) -> tuple[str, ...]:
    """The names of a source's volumes that the picture shows, each once."""
    return tuple(dict.fromkeys(item["name"] for item in _chosen(source)))


def _chosen(source: Source) -> list[dict[str, Any]]:
    places = np.linspace(0, len(source.items) - 1, SHOWN).astype(int)
    return [source.items[place] for place in places]
