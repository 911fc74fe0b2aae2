"""The report on the privacy audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ray_jobs.evaluation.findings import own_features, privacy_spaces
from ray_jobs.evaluation.measuring.folds import Matched
from ray_jobs.evaluation.measuring.latent_space import Shown
from ray_jobs.evaluation.measuring.measured import HELD_OUT, Measured
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import nearest
from ray_jobs.evaluation.report.shown import shown
from ray_jobs.evaluation.sources import REAL

MOST = 10  # pairs of real subjects that are named
FEWEST = 3  # volumes nearest to a training subject that are named in every space


def verdict(audit: dict[str, Any]) -> str:
    """An audit's verdict with its reasons, on a line."""
    told = {"passed": "passed", "failed": "FAILED", "inconclusive": "INCONCLUSIVE"}
    return ": ".join([told[audit["verdict"]], *filter(None, ["; ".join(audit["reasons"])])])


def privacy(
    findings: dict[str, Any],
    measured: dict[str, Measured],
    matched: Matched | None,
    encoded: Shown | None,
    releases: list[str],
) -> Iterator[Block]:
    yield Heading("Privacy")
    for label in releases:
        yield Text(f"{label}: {verdict(findings['privacy'][label])}.")
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
    yield from _power(findings["privacy"][releases[0]], releases[0])
    held_out = len(measured[REAL].of(HELD_OUT))
    yield Text(
        f"Passing proves no privacy: with {held_out} held-out people these tests find a membership "
        "AUC of the last column nine times in ten, and weaker ties seldom. Distances are to the "
        "nearest training subject, mirrored ones included, over the mean distance to the next ten: "
        "about 1 for somebody new. In folds, parts of 25 mm of a volume are moved to where they "
        "fit a subject best: a copy lies near 0, one bent by 3 mm at about 0.65."
    )
    yield from _closest(findings["privacy"][releases[0]])
    panels = []
    own = own_features(measured)
    spaces = privacy_spaces(measured, matched, encoded, own, releases[0])
    audited = findings["privacy"][releases[0]]["spaces"]
    for (space, _), found in zip(spaces, audited, strict=True):
        made, real = space.nearness()
        panels.append(
            {
                "name": space.name,
                "real": real.relative,
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


def _closest(audit: dict[str, Any]) -> Iterator[Block]:
    """Who is nearest to whom, for the cohort's owner alone."""
    rows: list[tuple[str, ...]] = [
        ("nearest by", "volume", "training subject", "relative distance", "near-copy")
    ]
    for found in audit["spaces"]:
        for place, near in enumerate(found["closest"]):
            copy = near["relative"] < found["threshold"]
            if copy or place < FEWEST:
                told = f"{near['relative']:.3g}"
                rows.append(
                    (found["name"], near["volume"], near["subject"], told, "yes" if copy else "no")
                )
    yield Table(rows, names_people=True)


def _power(audit: dict[str, Any], label: str) -> Iterator[Block]:
    """What would have been caught."""
    if power := audit["power"]:
        shares = [f"{share:.0%}" for share in power["shares"]]
        rows: list[tuple[str, ...]] = [("planted leaks", *shares, "source found")]
        for make, found in power["caught"].items():
            source = f"{power['found_source'][make]:.0%}"
            rows.append((make, *(f"{share:.0%}" for share in found), source))
        yield Table(rows)
        yield Text(
            f"How often {label} would fail by its folds if that share of its {power['volumes']:,} "
            f"volumes, one at least, were leaks of that make, at a false alarm rate of "
            f"{power['level']:.2g}: {power['planted']} leaks of each were made of training "
            "subjects and matched. Source found: how many of them are nearest to a subject that "
            "they were made of."
        )
    if alike := audit["alike"]:
        yield Text(
            f"{len(alike)} real subjects have the folds of another: one person under two names, or "
            "twins? They do not count among those who tell what is near."
        )
        pairs = [(pair["one"], pair["other"], f"{pair['relative']:.3g}") for pair in alike[:MOST]]
        yield Table(
            [("real subject", "has the folds of", "relative distance"), *pairs], names_people=True
        )
