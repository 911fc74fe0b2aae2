"""The report on whether volumes show what was asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ldm.covariates import Covariate, CovariateSchema
from ldm.volumes import previews
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import scatters
from ray_jobs.evaluation.report.shown import noted, shown
from ray_jobs.evaluation.sources import REAL
from ray_jobs.evaluation.sweeps import MEASURE_OF, Sweep


def conditioning(
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
        how = (
            "Brain volumes are normalised for head size to the cohort's own convention: measured "
            f"ones, to the template's head, times {factor:.4f}."
            if findings["head_size_normalised"]
            else "Brain volumes are not normalised for head size: the cohort's, which agree better "
            "with what is measured of them as they are, are not."
        )
        yield Text(f"Volumes in mm3, ages in years. {how}")
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
                who = (
                    f"{'unseen people' if label == REAL else label} (n = {one['n']:,}{noted(one)})"
                )
                rows.append((f"{name}, {unit}", who, *moved, about))
    if rows:
        yield Text(
            "What each asked covariate moves while the others are held: the change of what is "
            "measured, from the lower to the upper end of the asked one's range, by regression on "
            "all of them at once."
        )
        extents = (one for covariate in schema.covariates for one in _extents(covariate))
        yield Table([("measured", "", *extents, "scatter about it"), *rows])


def one_varied(sweeps: list[Sweep], schema: CovariateSchema) -> Iterator[Block]:
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
