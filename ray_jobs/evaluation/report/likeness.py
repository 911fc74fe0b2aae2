"""The report on whether volumes are spread as real ones are: anatomy, features, covariates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ldm.anatomy.regions import KINDS
from ldm.evaluation.effects import AGE, SEX
from ray_jobs.evaluation.anatomy import STRUCTURES
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import pairs_of, spreads
from ray_jobs.evaluation.report.shown import brief, shown
from ray_jobs.evaluation.sources import REAL

WORDS = {name: name.removesuffix("_volume").replace("_", " ") for name in STRUCTURES}
NAMED = 6  # regions named in the picture: those that age changes most


def morphometry(
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
        for name in STRUCTURES[:3]
    ]
    yield Picture("volumes-spread.png", spreads(panels), "As measured, not adjusted.")


def age_and_sex(findings: dict[str, Any], releases: list[str]) -> Iterator[Block]:
    """What age and sex change in each region, of the people and of each release that was asked."""
    told = {label: found for label in releases if (found := findings["effects"][label])}
    if not told:
        return
    yield Heading("What age and sex change")
    yield Text(
        "A linear model of every region's volume on age, sex and the head's size, of the people "
        "and of the volumes by themselves. Age: per cent of the region's mean volume a decade. "
        "Sex: how much larger a man's is than a woman's of the same age and head, in standard "
        "deviations of what the model leaves of the people. Agreement: Lin's concordance over all "
        "regions, 1 where they are equal; beside it that of two random halves of the people."
    )
    yield Table(
        [
            ("agreement", "age", "of real halves", "sex", "of real halves"),
            *(
                (label, *(shown(found[x][w]) for w in (AGE, SEX) for x in ("agreement", "halves")))
                for label, found in told.items()
            ),
        ]
    )
    for label, found in told.items():
        yield Picture(
            f"effects-{label}.png", pairs_of(_panels(found)), f"{label}: each dot a region."
        )
        yield Table(_rows(label, found))


def _panels(found: dict[str, Any]) -> list[dict[str, Any]]:
    words = {AGE: ("age", "% a decade"), SEX: ("sex, men over women", "standard deviations")}
    return [
        {
            "name": name,
            "unit": unit,
            "labels": list(found["regions"]),
            "named": NAMED,
            **{
                which: [region[what][which] for region in found["regions"].values()]
                for which in ("real", "synthetic")
            },
        }
        for what, (name, unit) in words.items()
    ]


def _rows(label: str, found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("", "age, real", f"age, {label}", "sex, real", f"sex, {label}"),
    ]
    for kind in KINDS:
        if kind.name in found["regions"]:
            region = found["regions"][kind.name]
            cells = (brief(region[w][x]) for w in (AGE, SEX) for x in ("real", "synthetic"))
            rows.append((kind.name, *cells))
    return rows


def diversity(findings: dict[str, Any], releases: list[str]) -> Iterator[Block]:
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
    yield Heading("Learning from it", 3)
    told = findings["tissue"]
    yield Text(
        "Which tissue a voxel is, told of the same real people by a classifier of voxels and what "
        "stands around them: trained on other real people, and on synthetic volumes alone. Mean "
        "Dice over fluid, grey and white matter, ventricles and brain stem; the labels of all are "
        "the segmenter's."
    )
    yield Table(
        [
            ("", "trained on real", "trained on synthetic"),
            *((label, *(shown(told[label][k]) for k in ("real", "synthetic"))) for label in told),
        ]
    )
    found = findings["transfer"]
    if found:
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


def covariates(findings: dict[str, Any], releases: list[str]) -> Iterator[Block]:
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
