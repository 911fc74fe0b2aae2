"""Whether the label maps of a release, where it has some, are of its images as they are now."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.layout import MOST_IMAGE_BYTES, participant_id
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.documents import label_table
from manifests.format.segmentation.layout import LABELS_KEY, NAMED, REGIONS_KEY, map_path
from manifests.format.segmentation.table import same_regions, volumes_of
from manifests.ledger.segmentation.progress import t1w_images
from manifests.numbers import ranges
from manifests.query.release import Release
from manifests.storage.base import Store, TooLargeError
from manifests.verify.documents import answers, read_or_why
from manifests.verify.findings import Finding, Report
from manifests.verify.images import AFFINE_TOLERANCE_MM, header_problem
from manifests.verify.tables import check_indices, read_table
from manifests.volumes.nifti import Geometry, read_labels


def check_labels(
    release: Release,
    report: Report,
    *,
    geometry: Geometry | None,
    connections: int,
    sample: int | None,
    seed: int,
) -> set[str]:
    """The table of the label maps against the manifest, and every map against the table.

    Of a version that was published earlier the table alone: a map may have been made anew since.

    Args:
        geometry: of the images; None where it is not known.
        sample, seed: read only so many maps.

    Returns:
        Keys of the maps that the table names.
    """
    told = release.document.segmentation
    if told is None:
        return set()
    for key in NAMED:
        if key not in release.about["files"]:
            report.error("file-unnamed", key, "release.json gives no SHA-256 of it")
    stored = read_or_why(release.store, LABELS_KEY)
    if isinstance(stored, bytes) and stored != label_table(told):
        report.error("labels-table", LABELS_KEY, "its regions are not those of release.json")
    rows = _rows(release, told, report)
    if rows is None:
        return set()
    _check_rows(release, rows, report)
    found = rows.filter(pc.is_valid(rows["path"])).select(["index", "path", "bytes", "sha256"])
    maps = [row for row in found.to_pylist() if row["path"] == map_path(row["index"])]
    named = {row["path"] for row in maps}
    if "opened_version" in release.about:
        return named
    if sample is not None and sample < len(maps):
        drawn = random.Random(seed).sample(range(len(maps)), sample)
        maps = [maps[place] for place in sorted(drawn)]
    check = _Check(release.store, told, geometry, release.about.get("space"))
    with ThreadPoolExecutor(connections) as pool:
        rest = iter(maps)
        while batch := list(islice(rest, 4 * connections)):  # so that few are in memory
            found_wrong = pool.map(check, batch)
            report.findings += [finding for finding in found_wrong if finding is not None]
            report.maps += len(batch)
    return named


def _rows(release: Release, told: Segmentation, report: Report) -> pa.Table | None:
    return read_table(
        release.store,
        REGIONS_KEY,
        report,
        kind="labels",
        same=lambda schema: same_regions(schema, told),
        other="its columns are not those of release.json; a newer brainpress may know them",
    )


def _check_rows(release: Release, rows: pa.Table, report: Report) -> None:
    indices = rows["index"].to_pylist()
    images = t1w_images(release)
    now = dict(zip(images["index"].to_pylist(), images["sha256"].to_pylist(), strict=True))
    check_indices(indices, now, REGIONS_KEY, report, kind="labels")
    if lacking := sorted(set(now) - set(indices)):
        text = f"images without a label map: {ranges(lacking)[:200]}: run `brainpress segment`"
        report.warning("labels-missing", REGIONS_KEY, text)
    seen = zip(indices, rows["image_sha256"].to_pylist(), strict=True)
    if stale := sorted(index for index, digest in seen if now.get(index, digest) != digest):
        text = f"these images are others now: {ranges(stale)[:200]}: run `brainpress segment`"
        report.error("labels-stale", REGIONS_KEY, text)
    if wrong := sorted(index for index, bad in zip(indices, _wrong(rows), strict=True) if bad):
        report.error("labels-row", REGIONS_KEY, f"rows of the samples {ranges(wrong)[:200]}")
    refused = rows.filter(pc.is_valid(rows["error"])).select(["participant_id", "error"])
    for row in refused.to_pylist():
        report.warning("labels-refused", row["participant_id"], f"it has no map: {row['error']}")


def _wrong(rows: pa.Table) -> list[bool]:
    """Of each row, whether it contradicts itself: with an error it has nothing else, else all."""
    refused = pc.is_valid(rows["error"])
    wrong = pa.array([False] * rows.num_rows)
    for name in ("path", "bytes", "sha256", *volumes_of(rows.schema)):
        wrong = pc.or_(wrong, pc.equal(pc.is_valid(rows[name]), refused))
    for name in volumes_of(rows.schema):
        plain = pc.and_(pc.is_finite(rows[name]), pc.greater_equal(rows[name], 0.0))
        wrong = pc.or_(wrong, pc.fill_null(pc.invert(plain), False))
    named = rows.select(["index", "participant_id", "path"]).to_pylist()
    others = [
        row["participant_id"] != participant_id(row["index"])
        or row["path"] not in (None, map_path(row["index"]))
        for row in named
    ]
    return [one or other for one, other in zip(wrong.to_pylist(), others, strict=True)]


class _Check:
    """What is wrong with the map of a row; None where nothing is."""

    def __init__(
        self, store: Store, told: Segmentation, geometry: Geometry | None, space: str | None
    ) -> None:
        self._store, self._geometry, self._space = store, geometry, space
        self._known = {0, *(region.number for region in told.regions)}

    def __call__(self, row: dict[str, Any]) -> Finding | None:
        key, data = row["path"], self._read(row["path"])
        if isinstance(data, Finding):
            return data
        if len(data) != row["bytes"]:
            text = f"it has {len(data)} bytes, {REGIONS_KEY} says {row['bytes']}"
            return Finding("error", "label-size", key, text)
        if sha256(data) != row["sha256"]:
            text = f"its SHA-256 is not {row['sha256']}, as {REGIONS_KEY} says"
            return Finding("error", "label-changed", key, text)
        try:
            labels, affine = read_labels(data)
        except ReleaseError as error:
            return Finding("error", "label-content", key, str(error))
        there = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        if strange := sorted(set(there) - self._known):
            text = f"it has the numbers {ranges(strange)[:100]}, which {LABELS_KEY} does not know"
            return Finding("error", "label-content", key, text)
        problem = header_problem(data, self._space) or self._elsewhere(labels, affine)
        return Finding("error", "label-geometry", key, problem) if problem else None

    def _read(self, key: str) -> bytes | Finding:
        try:
            return self._store.get(key, most=MOST_IMAGE_BYTES)
        except KeyError:
            return Finding("error", "label-missing", key, f"{REGIONS_KEY} names it")
        except TooLargeError as error:
            return Finding("error", "label-size", key, str(error))
        except ReleaseError as error:
            if isinstance(error, StorageError) and not answers(self._store):
                raise  # which says nothing about the release
            return Finding("error", "label-unreadable", key, str(error))

    def _elsewhere(self, labels: np.ndarray, affine: np.ndarray) -> str | None:
        """That a map does not lie on the images' grid."""
        images = self._geometry
        if images is None:
            return None
        if labels.shape != images.shape:
            return f"its shape is {labels.shape}, that of the images {images.shape}"
        apart = np.abs(affine[:3].ravel() - np.array(images.affine)).max()
        if not apart <= AFFINE_TOLERANCE_MM:
            return f"its affine differs from that of the images by {apart:.3g}"
        return None
