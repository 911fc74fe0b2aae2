"""The cards of the shipped tools: their digests are part of what an evaluation is known by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ldm.measuring.tool_folder import CARD, PEOPLE, REGIONS, SEGMENTER, read, shipped
from tests.benchmarks.tool_cards import main, render


@pytest.mark.parametrize("kind", [SEGMENTER, PEOPLE, REGIONS])
def test_a_shipped_card_is_what_its_description_renders_to(kind: str) -> None:
    document, files = read(shipped(kind), kind)
    assert files[CARD] == render(document, document["accuracy"]).encode()


def test_a_tool_is_given_its_card_and_stays_the_same_tool(tmp_path: Path) -> None:
    document, files = read(shipped(PEOPLE), PEOPLE)
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({**document["accuracy"], "real, of the segmenter": {}}))
    words = ["--tool", shipped(PEOPLE), "--accuracy", figures, "--out", tmp_path / "people"]
    assert main(list(map(str, words))) == 0
    assert read(tmp_path / "people", PEOPLE) == (document, files)
