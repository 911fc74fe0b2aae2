"""Fixtures that the end-to-end tests of `generate` share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, RayHead, tiny_model


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
