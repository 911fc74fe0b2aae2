"""Fixtures that the end-to-end tests of `generate` share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, RayHead, tiny_model


# The files that take longest begin first, so that no worker is left alone with one at the end.
LONGEST = ("test_training_deaths", "test_training_line", "test_generate_kills", "test_job_submit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


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
