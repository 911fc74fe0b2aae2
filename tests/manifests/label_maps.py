"""Label maps for the tests: a release is segmented without Ray, by a tool of two regions."""

from __future__ import annotations

import gzip
import io
from collections.abc import Collection
from typing import Any

import nibabel as nib
import numpy as np

from manifests.digests import sha256
from manifests.format.segmentation.about import Region, Segmentation
from manifests.format.segmentation.layout import map_path
from manifests.ledger.segmentation.closing import Closed, close_segmentation
from manifests.ledger.segmentation.progress import commit, pending
from manifests.query.release import Release
from manifests.storage.base import Store

REGIONS = (
    Region(
        number=1, name="left hippocampus", key="left_hippocampus", abbreviation="L-Hip",
        colour=(200, 30, 30), mapping=9,
    ),
    Region(
        number=7, name="brain stem", key="brain_stem", abbreviation="BS", colour=(30, 30, 200),
        mapping=10,
    ),
)  # fmt: skip
TOLD = Segmentation(
    tool="two regions",
    fingerprint="a" * 64,
    license="CC-BY-SA-3.0",
    attribution="Trained on noise.",
    description="Tells bright from dark.",
    images=0,
    regions=REGIONS,
)


def label_map(image: bytes) -> tuple[bytes, dict[str, float]]:
    """A map that is a function of the image: what is bright is one region, the rest another."""
    with gzip.open(io.BytesIO(image)) as stream:
        opened: Any = nib.Nifti1Image.from_bytes(stream.read())
    numbers = np.where(np.asarray(opened.dataobj) > 0.5, 1, 7).astype(np.uint8)
    numbers[0, 0, 0] = 0
    made = nib.Nifti1Image(numbers, opened.affine)
    made.set_sform(opened.affine, code="mni")
    made.set_qform(opened.affine, code="mni")
    made.header.set_xyzt_units("mm")
    volumes = {r.column: float((numbers == r.number).sum() * 8) for r in REGIONS}
    return gzip.compress(made.to_bytes(), compresslevel=1, mtime=0), volumes


def segment_some(store: Store, *, blocks: int | None = None, refused: Collection[int] = ()) -> int:
    """What workers do: the maps of the blocks that are missing, or of the first so many."""
    found = pending(Release.at(store), TOLD)[:blocks]
    for block in found:
        rows = []
        for image in block.images:
            row = {
                "index": image["index"],
                "participant_id": image["participant_id"],
                "image_sha256": image["sha256"],
                "error": "no brain" if image["index"] in refused else None,
            }
            if row["error"] is None:
                data, volumes = label_map(store.get(image["path"]))
                path = map_path(image["index"])
                store.put(path, data)
                row |= {"path": path, "bytes": len(data), "sha256": sha256(data), **volumes}
            rows.append(row)
        commit(store, block.number, rows, TOLD)
    return sum(len(block.images) for block in found)


def segment(store: Store, *, refused: Collection[int] = ()) -> Closed:
    """A segmented release."""
    segment_some(store, refused=refused)
    return close_segmentation(store, TOLD, software_version="0.1.0")
