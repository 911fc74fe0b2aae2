"""What the report of an evaluation says, section by section, its tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ldm.covariates import Covariate, CovariateSchema
from ldm.volumes import previews
from ray_jobs.evaluation.findings import HELD_OUT, REGIONS, Measured, own_features, privacy_spaces
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import nearest, scatters, spreads
from ray_jobs.evaluation.sources import REAL, Source
from ray_jobs.evaluation.sweeps import MEASURE_OF, Sweep

# Pinaya et al. 2022, table 1: FID, MS-SSIM, 4-G-R-SSIM.
PAPER = (
    ("LSGAN", "0.0231", "0.9997", "0.9969"),
    ("VAE-GAN", "0.1576", "0.9671", "0.8719"),
    ("LDM, 1000 steps", "0.0076", "0.6555", "0.3883"),
    ("LDM + DDIM, 50 steps", "0.0080", "0.6704", "0.3957"),
    ("real images", "0.0005", "0.6536", "0.3909"),
)
MOSAIC, SHOWN = "volumes.png", 6  # a picture of volumes, so many of each source
WORDS = {name: name.removesuffix("_volume").replace("_", " ") for name in REGIONS}


def headlines(findings: dict[str, Any], main: str) -> Iterator[tuple[str, str]]:
    """The figures of the release `main` that a reader asks for first: what, and found."""
    table = findings["table_1"]
    yield (
        "FID, segmenter's features",
        f"{shown(table[main]['fid_segmenter'])}; real against real "
        f"{shown(table[REAL]['fid_segmenter'])}",
    )
    for name, relation in findings["conditioning"][main].items():
        if "r" in relation:
            yield (
                f"{name} measured against asked",
                f"r {shown(relation['r'])}, slope {shown(relation['slope'])}",
            )
        else:
            yield f"{name} classified as asked", shown(relation["accuracy"])
    audit = findings["privacy"][main]
    verdict = "passed" if audit["passed"] else "FAILED: " + "; ".join(audit["reasons"])
    yield "privacy audit", verdict


def sections(
    findings: dict[str, Any],
    measured: dict[str, Measured],
    sources: dict[str, Source],
    schema: CovariateSchema,
    sweeps: list[Sweep],
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
    yield Table([("", "found"), *headlines(findings, main)])
    yield Picture(MOSAIC, mosaic(sources), f"Real people and {', '.join(releases)}.")
    yield from _table_1(findings)
    yield from _conditioning(findings, measured, schema, releases)
    yield from _sweeps(sweeps, schema)
    yield from _morphometry(findings, measured, releases)
    yield from _diversity(findings, releases)
    yield from _covariates(findings, releases)
    yield from _privacy(findings, measured, releases)
    yield Heading("How")
    yield Text(f"Seed {findings['seed']}: {findings['command']}")


def _table_1(findings: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Table 1")
    names = {
        "fid_medicalnet": "FID, MedicalNet",
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
        "upwards more than the others'. FID is biased at small n: the covariances have rank "
        f"{fid['rank']} of {fid['dimensions']} features there; KID is not. n of the similarities "
        "is the number of volumes in the pairs."
    )
    yield Text(
        "The paper's own table, of 31,740 people of UK Biobank at 1 mm, on MedicalNet's features. "
        "Other people, other voxels, other features: never one against the other."
    )
    yield Table([("Pinaya et al. 2022", "FID", "MS-SSIM", "4-G-R-SSIM"), *PAPER])


def _conditioning(
    findings: dict[str, Any],
    measured: dict[str, Measured],
    schema: CovariateSchema,
    releases: list[str],
) -> Iterator[Block]:
    yield Heading("Does it show what was asked?")
    rows: list[tuple[str, ...]] = [("", "", "r", "slope", "bias", "mean error")]
    classed: list[tuple[str, ...]] = []
    for label in (*releases, REAL):
        who = "the tools, on unseen people" if label == REAL else label
        for name, found in findings["conditioning"][label].items():
            if "r" in found:
                cells = (shown(found[key]) for key in ("r", "slope", "bias", "error"))
                rows.append((name, who, *cells))
            else:
                classed.append((name, who, shown(found["accuracy"]), shown(found["auc"])))
    yield Table(rows)
    if factor := findings["head_size_factor"]:
        yield Text(
            "Volumes in mm3, ages in years. Brain volumes are normalised for head size to the "
            f"cohort's own convention: measured ones, to the template's head, times {factor:.4f}."
        )
    if classed:
        yield Table([("", "", "classified as asked", "area under the curve"), *classed])
    yield from _responses(findings["responses"], schema, releases[0])
    main = measured[releases[0]].whole
    panels = []
    for name, found in findings["conditioning"][releases[0]].items():
        if "r" not in found:
            continue
        covariate = schema[name]
        scale, unit = _unit(covariate)
        panels.append(
            {
                "name": name.replace("_", " "),
                "unit": unit,
                "asked": main[name] / scale,
                "measured": main[f"measured_{MEASURE_OF[name]}"] / scale,
                "caption": f"r = {found['r']['value']:.3f}, slope {found['slope']['value']:.2f}",
            }
        )
    if panels:
        yield Picture(
            "conditioning.png",
            scatters(panels),
            f"{releases[0]}: measured against asked (the paper's figure 3); dashed: equal.",
        )


def _responses(responses: dict[str, Any], schema: CovariateSchema, main: str) -> Iterator[Block]:
    """Whether a covariate moves alone, or takes others along; of the release and of real people."""
    rows = []
    for name in responses[main]:
        scale, unit = _unit(schema[name])
        for label in (main, REAL):
            if one := responses[label].get(name):
                moved = (_effect(effect, scale) for effect in one["effects"].values())
                about = f"{one['scatter'] / scale:.3g}"
                who = f"{'unseen people' if label == REAL else label} (n = {one['n']:,})"
                rows.append((f"{name}, {unit}", who, *moved, about))
    if rows:
        yield Text(
            "What each asked covariate moves while the others are held: the change of what is "
            "measured, from the lower to the upper end of the asked one's range, by regression on "
            "all of them at once."
        )
        yield Table(
            [
                (
                    "measured",
                    "",
                    *(x for c in schema.covariates for x in _extents(c)),
                    "scatter about it",
                ),
                *rows,
            ]
        )


def _unit(covariate: Covariate) -> tuple[float, str]:
    """What to divide a covariate's values by for people, and the unit that they are in then."""
    return (1000, "mL") if covariate.unit == "mm3" else (1, covariate.unit)


def _extents(covariate: Covariate) -> list[str]:
    """The asked differences that a regression tells of; of more than two levels, against the
    first."""
    if covariate.is_one_hot:
        first, *others = covariate.levels
        return [f"asked {covariate.name}, {first} to {level}" for level in others]
    return [_extent(covariate)]


def _extent(covariate: Covariate) -> str:
    """`asked age, 20 to 79.5 year`."""
    if not covariate.is_continuous:
        return f"asked {covariate.name}, {covariate.levels[0]} to {covariate.levels[-1]}"
    scale, unit = _unit(covariate)
    ends = f"{covariate.minimum / scale:,.6g} to {covariate.maximum / scale:,.6g}"
    return f"asked {covariate.name}, {ends} {unit}".rstrip()


def _effect(effect: dict[str, Any], scale: float) -> str:
    """`73.1 (69.6 to 76.6)`; its n is told once a row."""
    return "{:.3g} ({:.3g} to {:.3g})".format(
        *(effect[name] / scale for name in ("value", "low", "high"))
    )


def _sweeps(sweeps: list[Sweep], schema: CovariateSchema) -> Iterator[Block]:
    if not sweeps:
        return
    yield Heading("One thing varied")
    yield Text(
        "The same noise and the same person, one covariate varied. Values marked with * lie beyond "
        "the range that the model was trained on (the paper's figures 2 and 4)."
    )
    for sweep in sweeps:
        covariate = schema[sweep.covariate]
        scale, unit = _unit(covariate)
        captions = [
            f"{asked / scale:.4g}{'*' if beyond else ''} -> "
            + (f"{found / scale:.4g}" if math.isfinite(found) else "no brain")
            for asked, found, beyond in zip(
                sweep.asked, sweep.measured, sweep.extrapolated, strict=True
            )
        ]
        name = sweep.covariate.replace("_", " ")
        yield Picture(
            f"sweep-{sweep.covariate}.png",
            previews.sweep(list(sweep.volumes), captions, title=f"{name}, {unit}: asked -> found"),
            f"{name}: asked, and measured there.",
        )


def _morphometry(
    findings: dict[str, Any], measured: dict[str, Measured], releases: list[str]
) -> Iterator[Block]:
    yield Heading("Regional volumes")
    yield Text(
        "Wasserstein distances between synthetic and real volumes, adjusted for age and sex, in "
        "standard deviations of the real ones; beside each what two halves of the real cohort give."
    )
    rows: list[tuple[str, ...]] = [("", *releases, "real against real")]
    first = findings["morphometry"][releases[0]]
    for name in first["regions"]:
        cells = [
            shown(findings["morphometry"][label]["regions"][name]["distance"]) for label in releases
        ]
        rows.append((WORDS.get(name, name), *cells, shown(first["regions"][name]["split_half"])))
    yield Table(rows)
    panels = [
        {
            "name": WORDS[name],
            "unit": "mL",
            "values": {
                label: found.whole[f"measured_{name}"].to_numpy() / 1000
                for label, found in measured.items()
            },
        }
        for name in REGIONS[:3]
    ]
    yield Picture("volumes-spread.png", spreads(panels), "As measured, not adjusted.")


def _diversity(findings: dict[str, Any], releases: list[str]) -> Iterator[Block]:
    yield Heading("Fidelity and diversity")
    names = ("precision", "recall", "density", "coverage")
    yield Table(
        [
            ("", *names),
            *(
                (label, *(shown(findings["coverage"][label][name]) for name in names))
                for label in releases
            ),
        ]
    )
    k = findings["coverage"][releases[0]]["k"]
    yield Text(f"On the segmenter's features, with balls of {k} neighbours.")
    found = findings["transfer"]
    if found:
        yield Heading("Learning from it", 3)
        yield Text(
            "Mean absolute error of age, in years, of the same real people: of a regression "
            "trained on other real people, and of one trained on synthetic volumes alone."
        )
        yield Table(
            [
                ("", "trained on real", "trained on synthetic", "everybody's mean"),
                *(
                    (label, *(shown(found[label][k]) for k in ("real", "synthetic", "constant")))
                    for label in found
                ),
            ]
        )


def _covariates(findings: dict[str, Any], releases: list[str]) -> Iterator[Block]:
    found = {
        label: findings["covariates"][label]
        for label in releases
        if findings["covariates"][label]["margins"]
    }
    if not found:
        return
    yield Heading("Who was asked for")
    yield Text(
        "The covariates that were drawn against the cohort's own. How each is spread: Wasserstein "
        "distance in standard deviations of the cohort, or for levels the difference of their "
        "shares; p of a two-sample Kolmogorov-Smirnov or chi-squared test."
    )
    rows: list[tuple[str, ...]] = [("", "", "difference", "p")]
    for label, of_one in found.items():
        for name, margin in of_one["margins"].items():
            rows.append((name, label, shown(margin["difference"]), f"{margin['p']:.2g}"))
    yield Table(rows)
    ties = {label: {_pair(tie): tie for tie in of_one["ties"]} for label, of_one in found.items()}
    pairs = {pair: tie["cohort"] for of_one in ties.values() for pair, tie in of_one.items()}
    if not pairs:
        return
    yield Text("How every two hang together: Spearman's correlation.")
    rows = [("", REAL, *ties)]
    for pair, of_cohort in pairs.items():
        cells = [
            shown(of_one[pair]["release"]) if pair in of_one else "" for of_one in ties.values()
        ]
        rows.append((pair, shown(of_cohort), *cells))
    yield Table(rows)


def _pair(tie: dict[str, Any]) -> str:
    return f"{tie['first']}, {tie['second']}"


def _privacy(
    findings: dict[str, Any], measured: dict[str, Measured], releases: list[str]
) -> Iterator[Block]:
    yield Heading("Privacy")
    for label in releases:
        audit = findings["privacy"][label]
        verdict = "passed" if audit["passed"] else f"FAILED: {'; '.join(audit['reasons'])}"
        yield Text(f"{label}: {verdict}.")
    rows: list[tuple[str, ...]] = [
        ("", "space", "near-copies", "as near as few people are", "membership, AUC", "would find")
    ]
    for label in releases:
        for found in findings["privacy"][label]["spaces"]:
            crowd = f"{shown(found['crowding'])}; {found['quantile']:.3g} of people"
            copies, membership = shown(found["near_copies"]), shown(found["membership"])
            least = f"AUC {found['detectable_auc']:.3g}"
            rows.append((label, found["name"], copies, crowd, membership, least))
    yield Table(rows)
    yield Text(findings["privacy"][releases[0]]["rule"])
    held_out = len(measured[REAL].of(HELD_OUT))
    yield Text(
        f"Passing proves no privacy: with {held_out} held-out people these tests find a membership "
        "AUC of the last column nine times in ten, and weaker ties seldom. Distances are to the "
        "nearest training subject, in images mirrored ones included, over the mean distance to the "
        "next ten: about 1 for somebody new, near 0 for a copy."
    )
    panels = []
    spaces = privacy_spaces(measured, own_features(measured), releases[0])
    for space, found in zip(spaces, findings["privacy"][releases[0]]["spaces"], strict=True):
        made, real = space.nearness()
        panels.append(
            {
                "name": space.name,
                "held_out": real.relative,
                "synthetic": made.relative,
                "threshold": found["threshold"],
            }
        )
    yield Picture(
        "privacy.png",
        nearest(panels),
        f"{releases[0]}: relative distances to the nearest training subject; dashed: below it a "
        "volume is a near-copy.",
    )


def mosaic(sources: dict[str, Source]) -> bytes:
    """A picture of a few volumes of every source."""
    volumes, titles = [], []
    for label, source in sources.items():
        chosen = np.linspace(0, len(source.items) - 1, SHOWN).astype(int)
        volumes += [source.read(source.items[place]) for place in chosen]
        titles += [label] * len(chosen)
    return previews.mosaic(volumes, titles, planes=("axial", "coronal"))


def shown(figure: dict[str, Any]) -> str:
    """`0.951 (0.94 to 0.962, n = 500)`."""
    if figure["value"] is None:
        return "not defined"
    of = f"n = {figure['n']:,}"
    if figure.get("n_reference") is not None:
        of += f" / {figure['n_reference']:,}"
    if figure["low"] is None:
        return f"{figure['value']:.3g} ({of})"
    return f"{figure['value']:.3g} ({figure['low']:.3g} to {figure['high']:.3g}, {of})"
