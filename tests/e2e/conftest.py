"""Fixtures that the end-to-end tests of `generate` share, and the order of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, RayHead, tiny_model

# The files that take longest begin, so that none of them is left when the others have ended.
LONGEST = (
    "test_training_deaths.py",
    "test_training_line.py",
    "test_training_stops.py",
    "test_generate_kills.py",
    "test_generate.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [at for at, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted((items[at] for at in places), key=lambda item: _order(item.path.name))
    for at, item in zip(places, ordered, strict=True):
        items[at] = item


def _order(name: str) -> int:
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def head() -> Iterator[RayHead]:
    """A Ray begun in a checkout where the package can be imported, as in the project's image;
    it has no AWS settings of its own."""
    head = RayHead.start(cpus=3, cwd=ROOT)
    yield head
    head.stop()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model with random weights, so small that a step takes milliseconds."""
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")
