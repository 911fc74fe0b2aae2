"""Releases for the tests of the page: many rows, few images, each a head marked on its left."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa

from manifests.digests import sha256
from manifests.format.layout import image_path, participant_id
from manifests.format.schema import Column, manifest_schema
from manifests.metadata.staging import write_release
from manifests.page.pictures import MOST_PICTURES, evenly
from manifests.storage import open_store
from manifests.storage.base import Store
from tests.manifests.releases import document

SHAPE, VOXEL = (32, 40, 36), 5.0
# What a level may be and a shell, a filter and a page must take as it is.
SITES = ("plain", 'O\'Hara "x"', "$(touch x) `y` </script><b>")
COLUMNS = (
    Column(name="sex", kind="categorical", levels=("F", "M"), description="F female, M male"),
    Column(name="age", unit="year", minimum=44.0, maximum=82.0, description="age at the scan"),
    Column(name="volume", unit="mm3", minimum=5_000, maximum=170_000, description="a volume"),
    Column(name="site", kind="categorical", levels=SITES, description="where it is from"),
)


def head_volume(index: int = 0) -> np.ndarray:
    """An ellipsoid, int16 (X, Y, Z) to right, front and top; a bright rod is left, front, up."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    radius = np.sqrt((x / 0.7) ** 2 + (y / 0.85) ** 2 + (z / 0.8) ** 2)
    values = np.where(radius < 1, 1500 + 60 * (index % 20) + 400 * y, 0)
    rod = ((x + 0.4) ** 2 + (z - 0.2) ** 2 < 0.04) & (y > -0.15) & (y < 0.6)
    return np.where(rod, 4000, values).astype(np.int16)


def nifti_bytes(volume: np.ndarray, affine: np.ndarray) -> bytes:
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, code="mni")
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([1 / 4095, 0], np.float32).tobytes()
    return gzip.compress(bytes(data), compresslevel=1, mtime=0)


def head_bytes(index: int) -> bytes:
    """A head whose voxels go to the left, as those of many scanners do."""
    affine = np.diag([-VOXEL, VOXEL, VOXEL, 1.0])
    affine[:3, 3] = [80, -100, -90]
    return nifti_bytes(head_volume(index)[::-1], affine)


def page_release(uri: str | Path, n: int, *, failed: int = 0, **changes: Any) -> Store:
    """A finished release of `n` rows, the last of them failed, with the images of its pictures."""
    store, rng, index = open_store(uri), np.random.default_rng(0), np.arange(n)
    good = n - failed
    shown = set(evenly(range(good), MOST_PICTURES))
    images = {int(i): head_bytes(int(i)) for i in shown}
    for i, data in images.items():
        store.put(image_path(i), data)
    other = head_bytes(0)
    age = np.round(np.clip(rng.normal(63, 8, n), 44, 82), 4)
    volume = np.round(rng.lognormal(10.2, 0.4, n), 1)
    sex, site = rng.integers(0, 2, n), rng.integers(0, len(SITES), n)
    there = index < good
    columns: dict[str, Any] = {
        "index": index,
        "participant_id": [participant_id(i) for i in index],
        "path": [image_path(i) if i < good else None for i in index],
        "bytes": [len(images.get(i, other)) if i < good else None for i in index],
        "sha256": _digests(images, other, n, good),
        "sex": np.array(["F", "M"])[sex],
        "sex_scaled": sex / 1.0,
        "age": age,
        "age_scaled": (age - 44) / 38,
        "volume": volume,
        "volume_scaled": (volume - 5_000) / 165_000,
        "site": np.array(SITES)[site],
        "site_scaled": site / 2.0,
        "extrapolated": volume > 60_000,
        "seed": np.full(n, 7),
        "attempt": np.zeros(n, np.int32),
        "status": np.where(there, "ok", "failed"),
        "error": [None if i < good else "empty volume" for i in index],
    }
    schema = manifest_schema(COLUMNS)
    table = pa.table(
        {field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema
    )
    write_release(store, table, document(columns=COLUMNS, quality=(), **changes))
    return store


def _digests(images: dict[int, bytes], other: bytes, n: int, good: int) -> list[str | None]:
    digests: list[str | None] = [sha256(other)] * good + [None] * (n - good)
    for i, data in images.items():
        digests[i] = sha256(data)
    return digests


def write_page(store: Store, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        store.put(key, data)
