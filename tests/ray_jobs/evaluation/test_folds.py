"""Which leaks are planted, who is matched with whom, and that every row stays its volume's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ldm.evaluation.privacy.pattern import SPACING, pattern
from ldm.evaluation.privacy.planted import EACH, MAKES
from ldm.split import person_of
from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.evaluation.measuring.folds import (
    LEAKS,
    MOST_BLOCKS,
    FoldMatcher,
    Matched,
    PlantedLeaks,
    blocks_to_match,
    matches_of,
    null_blocks,
    patterns_of,
    people_patterns,
)
from ray_jobs.evaluation.measuring.measured import HELD_OUT, TRAIN, Measured
from ray_jobs.evaluation.measuring.tables import BLOCK, part_path, write_part
from ray_jobs.evaluation.sources import REAL
from tests.ldm.evaluation.privacy.test_folds import SHAPE, brain

GRID = Grid(shape=SHAPE, spacing=SPACING, centre=(0.0, 0.0, 0.0))


class Brains:
    """A source whose volumes are brains, each of its own seed."""

    def __init__(self, names: list[str], groups: list[str], seeds: list[int]) -> None:
        self.items: list[dict[str, Any]] = [
            {"name": name, "group": group, "seed": seed}
            for name, group, seed in zip(names, groups, seeds, strict=True)
        ]

    def read(self, item: dict[str, Any]) -> np.ndarray:
        return brain(item["seed"])


def sessions(count: int) -> Any:
    """Two sessions of each person, every fifth person held out."""
    names = [f"sub-{n // 2:02d}_ses-{n % 2}" for n in range(count)]
    groups = [HELD_OUT if n // 2 % 5 == 0 else TRAIN for n in range(count)]
    return Brains(names, groups, list(range(count)))


def test_leaks_are_a_function_of_the_cohort_and_mix_nobody_with_themselves() -> None:
    cohort = sessions(12)
    leaks, again = PlantedLeaks.of(cohort, 2.5), PlantedLeaks.of(sessions(12), 2.5)
    assert leaks is not None
    assert again is not None
    assert leaks.items == again.items
    assert [item["make"] for item in leaks.items] == [make for make in MAKES for _ in range(EACH)]
    for item in leaks.items:
        one, other = (cohort.items[place] for place in item["of"])
        assert one["group"] == other["group"] == TRAIN
        assert person_of(one["name"]) != person_of(other["name"])
    assert len({item["of"] for item in leaks.items}) > EACH  # not always the same two
    assert PlantedLeaks.of(sessions(4), 2.5) is None  # the second person's sessions alone


@pytest.mark.parametrize("count", [1, BLOCK, 75, MOST_BLOCKS * BLOCK, 10_000, 100_001])
def test_people_are_matched_with_each_other_in_blocks_spread_over_the_cohort(count: int) -> None:
    total = -(-count // BLOCK)
    found = null_blocks(count)
    assert len(found) == len(set(found)) == min(total, MOST_BLOCKS)
    assert (found[0], found[-1]) == (0, total - 1)
    gaps = np.diff(found)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def measured(source: Any, out: Path, label: str, refused: int) -> Measured:
    """The source with its patterns written, but for a volume that the tools refuse."""
    rows, found = [], []
    for place, item in enumerate(source.items):
        gone = place == refused
        rows.append({**item, "error": "no brain" if gone else ""})
        found.append({"pattern": b"" if gone else pattern(source.read(item), SPACING).tobytes()})
    for number, start in enumerate(range(0, len(found), BLOCK)):
        write_part(out, patterns_of(label), number, found[start : start + BLOCK])
    return Measured(rows=pd.DataFrame(rows), pairs=pd.DataFrame())


def test_what_is_refused_is_left_out_and_every_other_row_stays_its_volumes(tmp_path: Path) -> None:
    count, made_of = BLOCK + 4, [5, 30, 33, 2, 9]
    names = [f"sub-{n:02d}" for n in range(count)]
    groups = [HELD_OUT if n % 3 == 0 else TRAIN for n in range(count)]
    real: Any = Brains(names, groups, list(range(count)))
    made: Any = Brains([f"sub-{n:06d}" for n in range(5)], [""] * 5, made_of)
    sources = {REAL: real, "made": made}
    rows = {
        REAL: measured(real, tmp_path, REAL, refused=3),
        "made": measured(made, tmp_path, "made", refused=1),
    }
    leaks = PlantedLeaks.of(real, SPACING)
    assert leaks is not None
    one = [item for item in leaks.items[::EACH] if 3 not in item["of"]]  # of a make is enough here
    assert len(one) == len(MAKES)
    gone = {"make": "moved", "key": 0, "of": (3, 4)}
    leaks = replace(leaks, items=[gone, *one])
    people = people_patterns(tmp_path, real, rows[REAL].rows, GRID)
    assert people.shape == (count - 1, *SHAPE)
    matcher = FoldMatcher(people, leaks, GRID, str(tmp_path))
    work = list(blocks_to_match(tmp_path, sources, leaks))
    assert sum(matcher(block)["rows"] for block in work) == count + 5 + len(leaks.items)
    assert not list(blocks_to_match(tmp_path, sources, leaks))  # nothing is matched twice

    folds = Matched.read(tmp_path, sources, leaks).folds(rows, "made")
    whole = [name for n, name in enumerate(names) if n != 3]
    assert folds.persons == folds.shown == tuple(whole)
    assert list(folds.trained) == [groups[names.index(name)] == TRAIN for name in whole]
    nearest = folds.synthetic.people[np.arange(4), folds.synthetic.distances.argmin(axis=1)]
    assert [folds.persons[row] for row in nearest] == [names[n] for n in (5, 33, 2, 9)]
    own = folds.real.people[np.arange(count - 1), folds.real.distances.argmin(axis=1)]
    assert [folds.persons[row] for row in own] == whole
    assert set(folds.planted) == set(MAKES)
    for make in MAKES:
        assert len(folds.planted_of[make]) == len(folds.planted[make].people) == 1
        assert set(folds.planted_of[make][0]) <= set(whole)
        assert folds.found_source(make, folds.leaks(make)) == 1

    part_path(tmp_path, matches_of(LEAKS), 0).unlink()
    (block,) = blocks_to_match(tmp_path, sources, leaks)
    assert (block["source"], block["number"]) == (LEAKS, 0)
    with pytest.raises(JobError, match=r"leaks-matches-00000\.parquet is missing or damaged"):
        Matched.read(tmp_path, sources, leaks)
