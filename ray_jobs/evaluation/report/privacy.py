"""The report on the privacy audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ldm.evaluation.privacy.nearness import nearness
from ray_jobs.evaluation.findings import own_features, privacy_spaces
from ray_jobs.evaluation.measured import HELD_OUT, Measured
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import nearest
from ray_jobs.evaluation.report.shown import shown
from ray_jobs.evaluation.sources import REAL


def privacy(
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
        made = nearness(space.synthetic, space.training, space.synthetic_mirrored)
        real = nearness(space.held_out, space.training, space.held_out_mirrored)
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
