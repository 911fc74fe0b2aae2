"""What dataset_description.json says, and what is told where it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.preparation.bids.description import told_description
from tests.ray_jobs.line import ended, write_prepared

WHOLE = {"Name": "Größe", "License": "CC-BY-NC-4.0", "HowToAcknowledge": "cite us"}
TOLD = {"dataset": "Größe", "license": "CC-BY-NC-4.0", "attribution": "cite us"}


def described(folder: Path, data: bytes) -> tuple[dict[str, str], list[str]]:
    (folder / "dataset_description.json").write_bytes(data)
    return told_description(folder)


def text(**changes: Any) -> str:
    return json.dumps({**WHOLE, **changes}, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_it_is_read_with_and_without_a_mark_of_byte_order(tmp_path: Path, encoding: str) -> None:
    assert described(tmp_path, text().encode(encoding)) == (TOLD, [])


def test_latin_1_is_read_and_told(tmp_path: Path) -> None:
    told, problems = described(tmp_path, text().encode("latin-1"))
    assert told == TOLD
    assert problems == ["dataset_description.json is not UTF-8: read as Latin-1, check its letters"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (text()[:-2] + ",\n}", "line 5 column 1"),
        (text()[:40], "line "),
        ("", "line 1 column 1"),
        ("[1, 2]", "not a JSON object"),
        ('"CC0"', "not a JSON object"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_damaged_file_loses_no_licence_in_silence(tmp_path: Path, data: str, reason: str) -> None:
    told, [problem] = described(tmp_path, data.encode())
    assert told == {}
    assert problem.startswith("dataset_description.json is damaged (")
    assert reason in problem
    assert "the cohort's licence is not known" in problem
    assert "\n" not in problem


@pytest.mark.parametrize("licence", [4, {"name": "CC0"}, True, [1, 2]])
def test_a_licence_that_is_no_text_is_told(tmp_path: Path, licence: object) -> None:
    told, [problem] = described(tmp_path, text(License=licence).encode())
    assert told == {name: value for name, value in TOLD.items() if name != "license"}
    assert problem.startswith(f"dataset_description.json: License is {licence!r}, expected text")
    assert "licence is not known" in problem


def test_a_list_of_texts_is_one_text_and_what_is_empty_is_nothing(tmp_path: Path) -> None:
    data = text(License=["CC0-1.0", "ODbL"], Name=None, HowToAcknowledge="").encode()
    assert described(tmp_path, data) == ({"license": "CC0-1.0, ODbL"}, [])


def test_no_file_and_one_that_is_a_folder(tmp_path: Path) -> None:
    assert told_description(tmp_path) == ({}, [])
    (tmp_path / "dataset_description.json").mkdir()
    told, [problem] = told_description(tmp_path)
    assert told == {}
    assert problem.startswith("dataset_description.json cannot be read (Is a directory), ")


def test_prepare_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_prepared(tmp_path / "p")
    (tmp_path / "p-bids" / "dataset_description.json").write_text(text()[:-2] + ",\n}")
    code, _, told = ended(
        capsys, "prepare", "--cohort", tmp_path / "p-bids", "--preset", "tiny",
        "--placement", "centre", "--out", tmp_path / "p",
    )  # fmt: skip
    assert code == 0
    assert told.startswith("note: dataset_description.json is damaged (")
    assert len(told.splitlines()) == 1
