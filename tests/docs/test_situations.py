"""docs/situations.md is what `prepare` says; of the quick ones, each time the tests are run."""

from __future__ import annotations

import pytest

from tests.docs.situations import page
from tests.docs.situations.groups import GROUPS
from tests.docs.situations.running import Said, said_of
from tests.docs.situations.situation import Situation

EVERY = [situation for group in GROUPS for situation in group.situations]
# None is registered: they are refused by their files, their headers or their table.
QUICK = (
    "RGB",
    "5-D, a vector a voxel",
    "Analyze 7.5 in one file named `.nii`",
    "cut short, `.nii`",
    "an empty file",
    "a Git LFS pointer",
    "a git-annex link without its content",
    "a folder of that name",
    "both codes 0, believed",
    "voxels of 0.002, as if in metres",
    "NaN in the midst of the brain",
    "empty: every voxel 0",
    "two sessions, the third",
    "commas instead of tabs",
    "all ages in months",
    "volumes in mL",
    "sex as 0 and 1",
    "the column age twice",
    "no participants.tsv",
)


def named(what: str) -> Situation:
    (found,) = [situation for situation in EVERY if situation.what == what]
    return found


@pytest.mark.parametrize("what", QUICK)
def test_the_page_says_what_prepare_says(what: str) -> None:
    situation = named(what)
    said = said_of(situation)
    assert page.line(situation, said) in page.PAGE.read_text().splitlines()


def test_the_page_has_every_situation_once_and_in_order() -> None:
    told = [line for line in page.PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in told]
    assert [cell for cell in cells if cell != "what there is"] == [s.what for s in EVERY]


def test_what_prepare_says_cannot_break_the_table() -> None:
    said = Said(code=1, lines=("unusable: sub-01: a | b", "<script>"))
    line = page.line(named("an empty file"), said)
    assert line == ("| an empty file |  | refused | unusable: sub-01: a \\| b<br>\\<script\\> |")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (Said(code=0, lines=()), "used"),
        (Said(code=0, lines=("note: sub-01: tilted",)), "used and told"),
        (Said(code=0, lines=("unusable: sub-02: no image",)), "1 refused, the others used"),
        (Said(code=1, lines=("unusable: sub-01: no image",)), "refused"),
    ],
)
def test_an_outcome_is_told_in_the_words_of_the_page(said: Said, outcome: str) -> None:
    assert said.outcome == outcome
