"""The recorded pictures of previews; run this file to record them again, and look at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ldm.volumes.previews import mosaic, sweep

FOLDER = Path(__file__).parent


def phantom(size: float = 1.0) -> np.ndarray:
    """An ellipsoid with a bright ball at its left, front and top, (40, 48, 36), RAS."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in (40, 48, 36)), indexing="ij")
    body = 0.4 * ((x / 0.75) ** 2 + (y / 0.9) ** 2 + (z / 0.7) ** 2 < size)
    ball = (x + 0.3) ** 2 + (y - 0.4) ** 2 + (z - 0.3) ** 2 < 0.16
    return np.where(ball & (body > 0), 1.0, body).astype(np.float32)


def pictures() -> dict[str, bytes]:
    """Every recorded picture, made now."""
    volumes = [phantom(size) for size in (0.6, 0.8, 1.0)]
    return {
        "previews_mosaic.png": mosaic(volumes, ["sub-000000", "sub-000001", "sub-000002"]),
        "previews_sweep.png": sweep(volumes, ["10 mL", "20 mL", "30 mL"], "coronal", "asked"),
    }


if __name__ == "__main__":
    for name, data in pictures().items():
        (FOLDER / name).write_bytes(data)
