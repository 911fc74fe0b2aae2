"""What a finished run has the release say of itself: what the user chose, else the model's card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ldm.loading import describe
from manifests.format.document import ReleaseDocument
from ray_jobs.generation.finish import release_document

CARD = describe("demo").card


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, ()),
        ({"license": "CC0-1.0"}, ("license",)),
        ({"name": "Brains", "authors": ["A", "B"]}, ("authors", "name")),
    ],
    ids=["nothing", "a licence", "a name and authors"],
)
def test_a_release_knows_what_its_user_chose(given: dict[str, Any], chosen: tuple[str]) -> None:
    wanted: dict[str, Any] = {"name": None, "license": None, "authors": (), **given}
    fields = {"seed": 3, "sampler": "ddim", "steps": 2}
    made = release_document(describe("demo"), **wanted, fingerprint="f", fields=fields)
    assert made.chosen == chosen
    assert made.license == given.get("license", CARD.get("release_license") or CARD["license"])
    assert made.authors == tuple(given.get("authors", ReleaseDocument.authors))


@pytest.mark.parametrize(("space", "said"), [("MNI152", None), ("centred", "centred")])
def test_a_release_says_in_which_space_it_lies_where_that_is_not_mni(
    space: str, said: str | None
) -> None:
    demo = describe("demo")
    model = replace(demo, grid=replace(demo.grid, space=space))
    fields = {"seed": 3, "sampler": "ddim", "steps": 2}
    made = release_document(
        model, name=None, license=None, authors=(), fingerprint="f", fields=fields
    )
    assert made.space == said
