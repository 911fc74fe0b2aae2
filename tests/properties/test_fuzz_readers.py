"""Broken files of every kind end in one line of ours; the long run is tests/benchmarks/fuzz.py."""

from __future__ import annotations

import pytest

from tests.fuzzing.model_readers import model_readers
from tests.fuzzing.readers import Reader, release_readers
from tests.fuzzing.running import run

COUNT = 25  # of each kind, the first of the long run's
NAMES = (
    "release.json",
    "manifest.parquet, its bytes",
    "manifest.parquet, its table",
    "plan.json and target.json",
    "image of a release",
    "filter (--where)",
    "model.json",
    "covariates.json of a model",
    "weights, safetensors",
    "schema (--covariates)",
    "configs of a bundle",
    "weights of a bundle, .pt",
    "scan to prepare, NIfTI",
)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    scratch = tmp_path_factory.mktemp("fuzz")
    return {reader.name: reader for reader in (*release_readers(scratch), *model_readers(scratch))}


def test_every_reader_is_fuzzed(readers: dict[str, Reader]) -> None:
    assert tuple(readers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_ends_in_one_line_of_ours(readers: dict[str, Reader], name: str) -> None:
    tally = run(readers[name], COUNT)
    assert tally.inputs >= COUNT
    assert tally.refused > COUNT / 4, "the mutations hardly break anything"
