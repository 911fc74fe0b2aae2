"""Matching the folds of every volume, and of planted leaks, with those of the real people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.privacy.audit import Folds
from ldm.evaluation.privacy.nearness import Matches
from ldm.evaluation.privacy.pattern import pattern, pattern_shape
from ldm.split import person_of
from ldm.volumes.grid import Grid
from ray_jobs.evaluation.measuring.measured import TRAIN, Measured
from ray_jobs.evaluation.measuring.tables import (
    BLOCK,
    arrays,
    blocks,
    read_part,
    read_parts,
    write_part,
)
from ray_jobs.evaluation.sources import REAL, Source

LEAKS = "leaks"
# Real people who tell how near somebody else comes: all, or this many blocks of a large cohort.
MOST_BLOCKS = 16


def patterns_of(label: str) -> str:
    """The kind of parts that hold a source's patterns."""
    return f"{label}-patterns"


def matches_of(label: str) -> str:
    """The kind of parts that hold a source's matches."""
    return f"{label}-matches"


@dataclass(kw_only=True)
class PlantedLeaks:
    """Leaks to be made of training subjects, a function of the cohort alone.

    Attributes:
        real: whose volumes they are made of.
        items: one a leak: `make`, `key`, and the two places in `real` that it is made of.
    """

    real: Source
    spacing: float
    items: list[dict[str, Any]]

    @classmethod
    def of(cls, real: Source, spacing: float) -> PlantedLeaks | None:
        """A few of every make; None where fewer than two persons were trained on."""
        from ldm.evaluation.privacy.planted import EACH, MAKES

        trained = [place for place, item in enumerate(real.items) if item["group"] == TRAIN]
        persons = {person_of(real.items[place]["name"]) for place in trained}
        if len(persons) < 2:
            return None
        items = []
        for number, make in enumerate(MAKES):
            rng = noise.generator(noise.EVALUATION, 3, number)
            for key in range(EACH):
                one = trained[rng.integers(len(trained))]
                mine = person_of(real.items[one]["name"])
                others = [p for p in trained if person_of(real.items[p]["name"]) != mine]
                other = others[rng.integers(len(others))]
                items.append({"make": make, "key": key, "of": (int(one), int(other))})
        return cls(real=real, spacing=spacing, items=items)

    def read(self, item: dict[str, Any]) -> np.ndarray:
        """The volume of a leak, (X, Y, Z) float32."""
        from ldm.evaluation.privacy.planted import plant

        people = [self.real.read(self.real.items[place]) for place in item["of"]]
        return plant(item["make"], people, self.spacing, item["key"])


def people_patterns(out: Path, real: Source, rows: pd.DataFrame, grid: Grid) -> np.ndarray:
    """(P, x, y, z) int8 of the real people who could be measured, in their order."""
    parts = read_parts(out, patterns_of(REAL), len(real.items))
    whole = parts["pattern"][rows["error"].to_numpy() == ""]
    shape = pattern_shape(grid.shape, grid.spacing)
    found = np.empty((len(whole), *shape), dtype=np.int8)
    for place, data in enumerate(whole):
        found[place] = np.frombuffer(data, np.int8).reshape(shape)
    return found


def blocks_to_match(
    out: Path, sources: dict[str, Source], leaks: PlantedLeaks
) -> Iterator[dict[str, Any]]:
    """The blocks that are not matched yet."""
    for label, source in sources.items():
        found = blocks(out, matches_of(label), len(source.items))
        kept = set(null_blocks(len(source.items))) if label == REAL else None
        for block in found:
            if kept is None or block["number"] in kept:
                yield {**block, "source": label}
    for block in blocks(out, matches_of(LEAKS), len(leaks.items)):
        yield {**block, "source": LEAKS}


def null_blocks(count: int) -> list[int]:
    """Which of a cohort's blocks are matched with the others: evenly spread ones."""
    total = (count + BLOCK - 1) // BLOCK
    return sorted({int(n) for n in np.linspace(0, total - 1, min(total, MOST_BLOCKS))})


class FoldMatcher:
    """Matches a block of volumes with the people a call, and writes its part.

    Args:
        people: (P, x, y, z) int8, or where Ray holds them: once a machine, for all actors of it.
        leaks: to be made and matched.
        grid: of the volumes.
        out: the evaluation's folder.
    """

    def __init__(self, people: Any, leaks: PlantedLeaks, grid: Grid, out: str) -> None:
        import torch

        from ldm.evaluation.privacy.matching import Matcher

        torch.set_num_threads(1)
        if not isinstance(people, np.ndarray):
            import ray

            people = ray.get(people)
        self._matcher = Matcher(people)
        self._leaks, self._grid, self._out = leaks, grid, Path(out)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Write part `number` of `source`: items `start` to `stop`."""
        found = self._patterns(block)
        shape = pattern_shape(self._grid.shape, self._grid.spacing)
        known = [place for place, one in enumerate(found) if one]
        rows = [{"people": b"", "distances": b""} for _ in found]
        if known:
            volumes = np.stack([np.frombuffer(found[p], np.int8).reshape(shape) for p in known])
            matches = self._matcher(volumes)
            for place, people, distances in zip(
                known, matches.people, matches.distances, strict=True
            ):
                rows[place] = {
                    "people": people.astype("<i4").tobytes(),
                    "distances": distances.astype("<f4").tobytes(),
                }
        write_part(self._out, matches_of(block["source"]), block["number"], rows)
        return {"rows": len(rows)}

    def _patterns(self, block: dict[str, Any]) -> list[bytes]:
        """Of the block's volumes; empty of one that could not be measured."""
        if block["source"] == LEAKS:
            items = self._leaks.items[block["start"] : block["stop"]]
            return [self._of_leak(item) for item in items]
        part = read_part(self._out, patterns_of(block["source"]), block["number"])
        return list(part["pattern"])

    def _of_leak(self, item: dict[str, Any]) -> bytes:
        try:
            return pattern(self._leaks.read(item), self._grid.spacing).tobytes()
        except LdmError:  # of a subject in whom nothing can be seen, who was refused too
            return b""


@dataclass(kw_only=True)
class Matched:
    """What was matched: a table for each source and one of the leaks, with `people` and
    `distances`, and in which row of the source it was."""

    tables: dict[str, pd.DataFrame]
    leaks: PlantedLeaks

    @classmethod
    def read(cls, out: Path, sources: dict[str, Source], leaks: PlantedLeaks) -> Matched:
        """All parts, of the real people those that were matched.

        Raises:
            JobError: a part is missing or damaged.
        """
        tables = {}
        for label, count in [
            *((label, len(source.items)) for label, source in sources.items()),
            (LEAKS, len(leaks.items)),
        ]:
            kept = null_blocks(count) if label == REAL else None
            table = read_parts(out, matches_of(label), count, numbers=kept)
            places = [
                np.arange(number * BLOCK, min((number + 1) * BLOCK, count))
                for number in (range((count + BLOCK - 1) // BLOCK) if kept is None else kept)
            ]
            tables[label] = table.assign(row=np.concatenate(places))
        return cls(tables=tables, leaks=leaks)

    def folds(self, measured: dict[str, Measured], label: str) -> Folds:
        """A release's folds and the people's, for the audit."""
        people = measured[REAL].whole
        persons = tuple(person_of(name) for name in people["name"])
        real = self._of(REAL, measured)
        names = measured[REAL].rows["name"]
        # Of whoever could not be measured no leak could be found either.
        there = (measured[REAL].rows["error"] == "").to_numpy()
        found = [all(there[place] for place in item["of"]) for item in self.leaks.items]
        leaks = self.tables[LEAKS][found]
        items = [item for item, kept in zip(self.leaks.items, found, strict=True) if kept]
        makes = np.array([item["make"] for item in items])
        of = [tuple(person_of(names[place]) for place in item["of"]) for item in items]
        return Folds(
            persons=persons,
            trained=(people["group"] == TRAIN).to_numpy(),
            synthetic=_matches(self._of(label, measured)),
            real=_matches(real),
            shown=tuple(person_of(names[row]) for row in real["row"]),
            planted={make: _matches(leaks[makes == make]) for make in dict.fromkeys(makes)},
            planted_of={
                make: tuple(pair for pair, made in zip(of, makes, strict=True) if made == make)
                for make in dict.fromkeys(makes)
            },
        )

    def _of(self, label: str, measured: dict[str, Measured]) -> pd.DataFrame:
        """The table of a source's volumes that could be measured."""
        table = self.tables[label]
        whole = (measured[label].rows["error"] == "").to_numpy()
        return table[whole[table["row"]]]


def _matches(table: pd.DataFrame) -> Matches:
    if not len(table):
        raise LdmError("no volume was matched with the people")
    people = np.stack([np.frombuffer(data, "<i4") for data in table["people"]])
    return Matches(people=people.astype(np.int64), distances=arrays(table["distances"], "<f4"))
