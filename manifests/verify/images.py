"""Whether the images of a release are those of its manifest: each read again, or a sample."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.layout import MOST_IMAGE_BYTES
from manifests.format.schema import OK
from manifests.storage.base import Entry, Store, TooLargeError
from manifests.storage.threads import OnProgress
from manifests.verify.documents import answers
from manifests.verify.findings import Finding, Report
from manifests.verify.remembered import Remembered, Sound
from manifests.volumes.nifti import BROKEN, HEADER_BYTES, Geometry, check_volume

SPACES = range(1, 6)  # NIfTI's codes of a coordinate system that is known
TEMPLATES = range(3, 6)  # of those: Talairach's, MNI's, another template's
AFFINE_TOLERANCE_MM = 1e-3


def check_images(
    store: Store,
    table: pa.Table,
    listed: Mapping[str, Entry] | None,
    report: Report,
    *,
    remembered: Remembered | None,
    trusting: bool,
    connections: int,
    sample: int | None,
    seed: int,
    on_progress: OnProgress | None,
    space: str | None = None,
) -> Geometry | None:
    """Every image: there, the right bytes, readable, on the same grid as the others.

    Returns:
        The geometry of the first; None where none is known.

    Args:
        listed: what is there by key; its size is all that is asked of images that a `sample`
            leaves out. None where the storage does not tell.
        remembered: takes note of sound images.
        trusting: pass over those that it knows, where the storage still tells the same of them.
        space: in which the images lie, as the release says, where that is none of a template.
    """
    ok = table.filter(pc.equal(table["status"], OK)).select(["path", "bytes", "sha256"])
    rows = ok.to_pylist()
    digests = {row["sha256"]: row["path"] for row in rows}
    if sample is not None and sample < len(rows):
        drawn = set(random.Random(seed).sample(range(len(rows)), sample))
        left = [row for index, row in enumerate(rows) if index not in drawn]
        rows = [rows[index] for index in sorted(drawn)]
        report.not_read = len(left)
        if listed is not None:
            for row in left:
                _check_listed(row, listed, report)
    geometries: dict[Geometry, str] = {}
    etags = {key: entry.etag for key, entry in listed.items()} if listed and remembered else {}
    with ThreadPoolExecutor(connections) as pool:
        rest = iter(rows)
        # Few at a time, so that few images are in memory.
        while batch := list(islice(rest, 4 * connections)):
            known: dict[str, Geometry] = {}
            if remembered and trusting:
                known = remembered.among([_named(row, etags) for row in batch])
            read = [row for row in batch if row["path"] not in known]
            sound = []
            results = pool.map(lambda row: _check_image(store, row, digests, space), read)
            for row, (findings, geometry) in zip(read, results, strict=True):
                report.findings += findings
                report.image_bytes += row["bytes"] or 0
                if geometry is not None:
                    known[row["path"]] = geometry
                    if not findings and row["path"] in etags:
                        sound.append(Sound(*_named(row, etags), geometry))
            if remembered:
                remembered.add(sound)
            report.images += len(batch)
            report.remembered += len(batch) - len(read)
            for row in batch:
                if row["path"] in known:
                    geometries.setdefault(known[row["path"]], row["path"])
            if on_progress:
                on_progress(report.images, len(rows), report.image_bytes)
    first, *others = geometries.values() or [""]
    for path in others:
        text = f"its grid, type or scaling is not that of {first}"
        report.error("image-geometry", path, text)
    return next(iter(geometries), None)


def _named(row: dict[str, Any], etags: Mapping[str, str]) -> tuple[str, str, str]:
    """By what an image is remembered: its key, ETag and digest."""
    key = row["path"] or ""
    return key, etags.get(key, ""), row["sha256"] or ""


def _check_listed(row: dict[str, Any], listed: Mapping[str, Entry], report: Report) -> None:
    key = row["path"] or ""
    if key not in listed:
        report.error("image-missing", key, "the manifest names it")
    elif listed[key].size != row["bytes"]:
        text = f"it has {listed[key].size} bytes, the manifest says {row['bytes']}"
        report.error("image-size", key, text)


def _check_image(
    store: Store, row: dict[str, Any], digests: Mapping[str, str], space: str | None
) -> tuple[list[Finding], Geometry | None]:
    key = row["path"] or ""
    try:
        data = store.get(key, most=MOST_IMAGE_BYTES)
    except KeyError:
        return [Finding("error", "image-missing", key, "the manifest names it")], None
    except TooLargeError as error:
        return [Finding("error", "image-size", key, str(error))], None
    except ReleaseError as error:
        if isinstance(error, StorageError):
            if not answers(store):  # which says nothing about the release
                raise
            return [Finding("error", "image-unreadable", key, str(error))], None
        return [Finding("error", "image-key", key, str(error))], None
    findings = []
    found = sha256(data)
    if found != row["sha256"] and digests.get(found, key) != key:
        text = f"it is {digests[found]}"
        findings.append(Finding("error", "image-swapped", key, text))
    elif len(data) != row["bytes"]:
        text = f"it has {len(data)} bytes, the manifest says {row['bytes']}"
        findings.append(Finding("error", "image-size", key, text))
    elif found != row["sha256"]:
        text = f"its SHA-256 is {found}, the manifest says {row['sha256']}"
        findings.append(Finding("error", "image-changed", key, text))
    geometry, problem = check_volume(data)
    if problem:
        findings.append(Finding("error", "image-content", key, problem))
    elif problem := header_problem(data, space):
        findings.append(Finding("error", "image-header", key, problem))
    return findings, geometry


def header_problem(data: bytes, space: str | None = None) -> str | None:
    """What a sound volume's header does not say, or says twice and differently.

    A release's images are in millimetres and in a known space; qform and sform, where both are
    given, are the same, because programs differ in which one they believe. Where the release says
    that its images lie in no template's space, their headers name none.
    """
    try:
        # Unpacked as a stream: no more than the header.
        block = zlib.decompressobj(wbits=31).decompress(data, HEADER_BYTES)
        header = nib.Nifti1Header(block, check=False)
        unit = header.get_xyzt_units()[0]
        sform, qform = int(header["sform_code"]), int(header["qform_code"])
        if unit != "mm":
            return f"its unit of length is {unit}, expected mm"
        if sform not in SPACES and qform not in SPACES:
            return f"its sform and qform codes are {sform} and {qform}, expected a known space"
        if space is not None and (sform in TEMPLATES or qform in TEMPLATES):
            return (
                f"its sform and qform codes are {sform} and {qform}, a template's space; "
                f"release.json says {space!a:.40}"
            )
        if sform in SPACES and qform in SPACES:
            apart = np.abs(header.get_sform() - header.get_qform()).max()
            if not apart <= AFFINE_TOLERANCE_MM * max(header.get_data_shape()):
                return f"its sform and qform differ by {apart:.3g} mm"
    except (*BROKEN, gzip.BadGzipFile, zlib.error, np.linalg.LinAlgError) as error:
        return f"its header cannot be read: {error}"
    return None
