"""The report on sharpness and texture, and on what a classifier makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ray_jobs.evaluation.report.page import Block, Heading, Picture, Table, Text
from ray_jobs.evaluation.report.pictures import by_band
from ray_jobs.evaluation.report.shown import brief, shown
from ray_jobs.evaluation.sources import REAL
from ray_jobs.evaluation.spectra import BLURRED

OTHERS = "other real people"


def sharpness(found: dict[str, Any] | None, releases: list[str]) -> Iterator[Block]:
    """Nothing but a line where too few people were held out."""
    yield Heading("As sharp as people?")
    if found is None:
        yield Text("Too few real people were measured to tell: five held out, and five others.")
        return
    bands = [f"{low:.2f}-{high:.2f}" for low, high in found["bands"]]
    n = found["people"]["n"]
    yield Text(
        f"Inside the brain, by band of spatial frequency in cycles a voxel, against {n} people on "
        "whom no model was trained. Power over theirs, where anatomy at large has the same: below "
        "1 is blurred, above 1 too rough. What other real people give stands beside it."
    )
    sets = {label: found["sets"][label] for label in (*releases, REAL)}
    yield Table([("power over real", "n", *bands), *_rows(sets, "power")])
    yield Text(
        "Excess kurtosis of the band's intensities: 0 of noise, more where fine structure follows "
        "folds and edges. With people's power and less of their kurtosis, a picture is mottled."
    )
    people = ("the people held out", f"{n:,}", *map(brief, found["people"]["kurtosis"]))
    yield Table([("kurtosis", "n", *bands), *_rows(sets, "kurtosis"), people])
    panels = [
        {
            "name": name,
            "level": level,
            "sets": {_who(label): sets[label][key] for label in (REAL, *releases)},
        }
        for name, key, level in (
            ("power over real people's", "power", 1.0),
            ("kurtosis less real people's", "difference", 0.0),
        )
    ]
    yield Picture(
        "sharpness.png",
        by_band(found["bands"], panels),
        "Power and kurtosis by band of spatial frequency, with 95 % intervals.",
    )
    yield Text(
        "Told apart: the area under the curve of a classifier (ridge regression, five folds) on "
        "these figures, for volumes that it was not trained on: 0.5 it cannot tell, 1 it always "
        "can. Real against real: random splits of the real people at the same two sizes, with "
        "the range that holds 95 % of them."
    )
    yield Table(
        [
            ("", "told from real", "real from real"),
            *(
                (label, *(shown(found["told_apart"][label][key]) for key in ("synthetic", "real")))
                for label in releases
            ),
        ]
    )


def told(found: dict[str, Any], main: str) -> Iterator[tuple[str, str]]:
    """The headlines of the release `main`: what, and found."""
    apart, power = found["told_apart"][main], found["sets"][main]["power"]
    yield (
        "told from real people, area under the curve",
        f"{shown(apart['synthetic'])}; real from real {shown(apart['real'])}",
    )
    low, high = found["bands"][BLURRED]
    yield f"power over real people's, {low:.2f} to {high:.2f} cycles a voxel", shown(power[BLURRED])


def _rows(sets: dict[str, Any], key: str) -> Iterator[tuple[str, ...]]:
    for label, one in sets.items():
        yield _who(label), f"{one[key][0]['n']:,}", *map(brief, one[key])


def _who(label: str) -> str:
    return OTHERS if label == REAL else label
