"""The data card in a release's README: distributions, training data, limits, citation."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from ray_jobs.cli import main
from tests.manifests.releases import document, make_release, row


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_the_distributions_are_those_of_the_images(tmp_path: Path) -> None:
    make_release(tmp_path, 12, failed=[3])
    frame = pd.DataFrame([row(index) for index in range(12) if index != 3])
    (line,) = re.findall(r"^\| age \(year\) \| (.+) \|$", card(tmp_path), re.MULTILINE)
    found = [float(text) for text in line.split(" | ")]
    expected = np.quantile(frame["age"], [0, 0.05, 0.5, 0.95, 1])
    assert found == pytest.approx(list(expected), abs=0.01)
    counts = frame["sex"].value_counts()
    assert f"sex: F {counts['F']}, M {counts['M']}." in card(tmp_path)


def test_the_card_tells_training_data_limits_and_citation(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 2)
    rows = Release.open(tmp_path / "first").query()
    training = {"cohort": {"dataset": "A cohort | of ours"}, "subjects": 1310, "held_out": 17}
    model = {"name": "tiny", "training": training, "limits": "No cerebellum."}
    write_release(LocalStore(tmp_path / "b"), rows, document(model=model, authors=("A. B.", "C.")))
    text = card(tmp_path / "b")
    for line in (
        r"Cohort: A cohort \| of ours. 1,310 subjects, 17 held out.",
        "- No cerebellum.",
        "A. B.; C.. Tiny synthetic brains. `CITATION.cff`",
    ):
        assert line in text


@pytest.mark.parametrize("training", [None, "x", {"cohort": 3, "subjects": "many"}])
def test_a_card_of_another_shape_is_no_obstacle(tmp_path: Path, training: object) -> None:
    make_release(tmp_path / "first", 2)
    rows = Release.open(tmp_path / "first").query()
    about = document(model={"name": "tiny", "training": training})
    write_release(LocalStore(tmp_path / "b"), rows, about)
    assert "The model's card does not tell" in card(tmp_path / "b")


def test_values_that_are_no_numbers_are_no_obstacle(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 3)
    rows = Release.open(tmp_path / "first").query()
    place = rows.schema.get_field_index("age")
    ages = [[math.nan, math.inf, 50.0]]
    strange = rows.set_column(place, rows.schema.field("age"), ages)
    write_release(LocalStore(tmp_path / "b"), strange, document())
    assert "| age (year) |" in card(tmp_path / "b")
    write_release(LocalStore(tmp_path / "none"), rows.slice(0, 0), document())
    assert "distributions" not in card(tmp_path / "none")


def test_the_queries_of_the_card_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(tmp_path, 4)
    lines = re.findall(r"^    (brainpress query .*)$", card(tmp_path), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line.replace("RELEASE", str(tmp_path)))
        assert main(words[1:]) == 0
    assert "4" in capsys.readouterr().out


def test_the_card_tells_what_people_were_promised(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 2)
    rows = Release.open(tmp_path / "first").query()
    promise = {"epsilon": 10.0, "delta": 0.00076336, "people": 131}
    write_release(
        LocalStore(tmp_path / "b"), rows, document(model={"name": "m", "privacy": promise})
    )
    told = "on 131 people with differential privacy, epsilon 10 at delta 0.00076 a person"
    assert told in card(tmp_path / "b")
    for strange in (3, {}, {**promise, "epsilon": "10"}, {**promise, "delta": True}):
        about = document(model={"name": "m", "privacy": strange})
        write_release(LocalStore(tmp_path / "c"), rows, about)
        assert "differential privacy" not in card(tmp_path / "c")
