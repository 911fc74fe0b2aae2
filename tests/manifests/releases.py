"""Small releases for the tests: real NIfTI files, a real ledger, no model."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from manifests.digests import sha256
from manifests.format.document import ReleaseDocument
from manifests.format.layout import image_path, part_key, participant_id
from manifests.format.parquet import read_columns
from manifests.format.schema import Column, manifest_schema, rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.storage import open_store
from manifests.storage.base import Store

COLUMNS = (
    Column(name="sex", kind="categorical", levels=("F", "M"), description="F female, M male"),
    Column(name="age", unit="year", minimum=44.0, maximum=82.0, description="age at the scan"),
    Column(
        name="ventricular_volume",
        unit="mm3",
        minimum=6_995.68,
        maximum=171_375.0,
        description="cerebrospinal fluid of the lateral ventricles",
    ),
)
QUALITY = (Column(name="foreground_fraction", description="share of voxels inside the head"),)
SCHEMA = manifest_schema(COLUMNS, QUALITY)
SHAPE, SLOPE = (10, 12, 8), 1 / 4095
SEED = 7


def document(**changes: Any) -> ReleaseDocument:
    fields: dict[str, Any] = {
        "name": "Tiny synthetic brains",
        "model": {
            "name": "tiny",
            "description": "A model of nothing.",
            "license": "CC0-1.0",
            "attribution": "Derived from nobody.",
            "demo": True,
        },
        "sampler": {"name": "ddim", "steps": 50},
        "seed": SEED,
        "fingerprint": "f" * 64,
        "fields": {"seed": SEED, "model": {"name": "tiny"}},
        "columns": COLUMNS,
        "quality": QUALITY,
        "license": "CC-BY-SA-3.0",
        "software_version": "0.1.0",
    }
    return ReleaseDocument(**{**fields, **changes})


def image_bytes(index: int, *, shape: tuple[int, int, int] = SHAPE) -> bytes:
    """A NIfTI file that is a function of the index, each of the same size: 12-bit noise, 2 mm."""
    values = np.random.default_rng(index).integers(0, 4096, shape, dtype=np.int16)
    image = nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]))
    image.set_sform(image.affine, code="mni")
    image.set_qform(image.affine, code="mni")
    image.header.set_xyzt_units("mm")
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([SLOPE, 0], np.float32).tobytes()  # scl_slope, scl_inter
    return gzip.compress(data, compresslevel=0, mtime=0)


def row(index: int, data: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """The manifest row of a sample; without `data`, of one that failed."""
    rng = np.random.default_rng([SEED, index])
    age = round(float(rng.uniform(44, 82)), 2)
    volume = round(float(rng.uniform(7_000, 170_000)), 1)
    sex = "FM"[int(rng.integers(2))]
    low, high = 6_995.68, 171_375.0
    made: dict[str, Any] = {
        "index": index,
        "participant_id": participant_id(index),
        "path": None if data is None else image_path(index),
        "bytes": None if data is None else len(data),
        "sha256": None if data is None else sha256(data),
        "sex": sex,
        "sex_scaled": float("FM".index(sex)),
        "age": age,
        "age_scaled": (age - 44) / (82 - 44),
        "ventricular_volume": volume,
        "ventricular_volume_scaled": (volume - low) / (high - low),
        "extrapolated": False,
        "seed": SEED,
        "attempt": 0,
        "status": "failed" if data is None else "ok",
        "error": "empty volume" if data is None else None,
        "quality_foreground_fraction": 0.5,
    }
    return {**made, **changes}


def write_shard(store: Store, plan: ShardPlan, shard: int, *, failed: Iterable[int] = ()) -> str:
    """What a worker does: the images of a shard that no row tells of yet, then its part."""
    indices = plan.indices(shard)
    rows = [row for row in rows_of(store, shard) if row["index"] in indices]
    for index in indices[len(rows) :]:
        data = None if index in failed else image_bytes(index)
        rows.append(row(index, data))
        if data is not None:
            store.put(image_path(index), data)
    table = rows_table(rows, SCHEMA)
    return Ledger(store).commit(shard, table, plan.expected_rows(shard))


def rows_of(store: Store, shard: int) -> list[dict[str, Any]]:
    """The rows that a part has by now."""
    try:
        rows: list[dict[str, Any]] = read_columns(store, part_key(shard)).to_pylist()
    except KeyError:
        return []
    return rows


def begin(store: Store, plan: ShardPlan) -> None:
    about = document()
    Ledger(store).begin(
        {
            "fingerprint": about.fingerprint,
            "fields": dict(about.fields),
            "shard_size": plan.shard_size,
        },
        n=plan.n,
    )


def make_release(
    uri: str | Path, n: int = 10, *, shard_size: int = 4, failed: Iterable[int] = ()
) -> Store:
    """A finished release of `n` samples."""
    store, plan = open_store(uri), ShardPlan(n, shard_size)
    begin(store, plan)
    for shard in Ledger(store).pending(plan):
        write_shard(store, plan, shard, failed=failed)
    finalise(store, plan, document(), extra={"previews/mosaic.png": b"\x89PNG"})
    return store
