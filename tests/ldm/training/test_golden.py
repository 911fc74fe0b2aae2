"""The loss curves of the tiny networks are those recorded in tests/golden/*.txt."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.losses import FOLDER, curves


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return curves(tmp_path_factory.mktemp("curves"))


@pytest.mark.parametrize(
    ("name", "falls_to"),
    [
        ("loss_autoencoder.txt", 0.6),
        ("loss_diffusion_epsilon.txt", 0.6),
        ("loss_diffusion_v.txt", 0.98),
    ],
)
def test_the_loss_falls_as_recorded(
    found: dict[str, np.ndarray], name: str, falls_to: float
) -> None:
    recorded = np.loadtxt(FOLDER / name)
    assert recorded[-10:].mean() < falls_to * recorded[:5].mean(), "a curve that shows nothing"
    np.testing.assert_allclose(found[name], recorded, rtol=5e-3)
