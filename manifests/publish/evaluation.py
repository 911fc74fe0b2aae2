"""The folder that `brainpress evaluate` wrote, as `publish` takes it into a release."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.evaluation import FAILED, Evaluation, is_evaluation
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import EVALUATION, MEASURED_KEY
from manifests.format.measured import same_measures, without
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.schema import OK
from manifests.metadata.pictures import without_pictures
from manifests.query.release import Release

FORMAT, JSON_KEY = "brainpress-evaluation", "evaluation.json"
IMAGES_KEY = "images.parquet"  # which images were seen, by digest; not carried
PUBLIC = "public"  # what is in there is for everyone; what is beside it may show real people
MOST_FILES, MOST_BYTES = 100, 2**30
_IMAGES = (("index", pa.int64()), ("sha256", pa.string()))
_NAME = re.compile(r"public/[A-Za-z0-9_-]{1,80}\.(png|md|html|json)")
AGAIN = "run the same `brainpress evaluate` again"


@dataclass(frozen=True, kw_only=True)
class EvaluationFolder:
    """An evaluation and the files that a release takes from it.

    Attributes:
        fingerprint: of the release that was evaluated.
        measured: a row for each image.
        images: the SHA-256 of each that was seen, by index.
        files: of `evaluation/`, by their key in the release.
    """

    folder: Path
    fingerprint: str
    evaluation: Evaluation
    measured: pa.Table
    images: dict[int, str]
    files: dict[str, bytes]


def read_document(folder: Path) -> dict[str, Any]:
    """The folder's evaluation.json.

    Raises:
        ReleaseError: none there, a damaged one, or another program's.
    """
    try:
        with (folder / JSON_KEY).open("rb") as file:
            document = parse_json(file.read(MOST_JSON_BYTES + 1), f"{folder}/{JSON_KEY}")
    except OSError:
        raise ReleaseError(
            f"--evaluation {folder}: no {JSON_KEY} there; expected the --out of a"
            " `brainpress evaluate` that ended"
        ) from None
    if document.get("format") != FORMAT:
        raise ReleaseError(f"--evaluation {folder}: {JSON_KEY} is not of `brainpress evaluate`")
    return document


def read_evaluation(folder: Path) -> EvaluationFolder:
    """What lies in the folder, every file with the digest that its evaluation.json tells.

    Raises:
        ReleaseError: no evaluation there; one that is not finished, or was changed.
    """
    document = read_document(folder)
    release, files = document.get("release"), document.get("files")
    if not isinstance(release, dict) or not isinstance(files, dict) or IMAGES_KEY not in files:
        raise ReleaseError(f"--evaluation {folder} is of an earlier brainpress: {AGAIN}")
    found = {name: _read(folder, name, digest) for name, digest in _checked(folder, files)}
    try:
        data, seen = found.pop(MEASURED_KEY), found.pop(IMAGES_KEY)
        public = found[f"{PUBLIC}/{JSON_KEY}"]
        about = {**release["evaluation"], "sha256": sha256(public)}
        evaluation = Evaluation.from_json(about)
        fingerprint = str(release["fingerprint"])
        assert evaluation is not None
    except (KeyError, TypeError):
        raise ReleaseError(f"--evaluation {folder}: {JSON_KEY} is damaged: {AGAIN}") from None
    measured = table_from_bytes(data, f"{folder}/{MEASURED_KEY}")
    rows = evaluation.measured + evaluation.refused
    if not same_measures(measured.schema) or measured.num_rows != rows:
        raise ReleaseError(
            f"--evaluation {folder}: {MEASURED_KEY} has {measured.num_rows} rows or columns of"
            f" another version, {JSON_KEY} tells of {rows}: {AGAIN}"
        )
    return EvaluationFolder(
        folder=folder,
        fingerprint=fingerprint,
        evaluation=evaluation,
        measured=measured,
        images=_images(seen, f"{folder}/{IMAGES_KEY}"),
        files={f"{EVALUATION}/{name.removeprefix(f'{PUBLIC}/')}": b for name, b in found.items()},
    )


def check_belongs(found: EvaluationFolder, release: Release) -> None:
    """Raise unless it is this very release that was evaluated, as it is or before it grew.

    Raises:
        ReleaseError: another release, or another part of it.
    """
    where, about, one = f"--evaluation {found.folder}", release.about, found.evaluation
    if found.fingerprint != about["fingerprint"]:
        raise ReleaseError(
            f"{where} is of another release: fingerprint {found.fingerprint[:12]!a}, that of"
            f" {release.store.uri} is {about['fingerprint'][:12]!a}"
        )
    if one.samples > about["counts"]["samples"]:
        raise ReleaseError(
            f"{where} is of {one.samples:,} samples, {release.store.uri} has"
            f" {about['counts']['samples']:,}: {AGAIN}"
        )
    rows = release.query(columns=["index", "status"])
    gone = set(rows.filter(pc.not_equal(rows["status"], OK))["index"].to_pylist())
    indices = found.measured["index"].to_pylist()
    if len(set(indices)) < len(indices) or not set(indices) <= set(range(one.samples)):
        raise ReleaseError(f"{where}: {MEASURED_KEY} has a row twice, or of no sample: {AGAIN}")
    _check_images(found, release)
    images = one.samples - sum(index < one.samples for index in gone)
    if images > one.images:
        raise ReleaseError(
            f"{where} is of {one.images:,} images, and among the first {one.samples:,} samples of"
            f" {release.store.uri} there are {images:,}: {AGAIN}"
        )


def refuse_not_passed(found: EvaluationFolder) -> None:
    """Raise where the privacy audit failed or was inconclusive, with its reasons (exit code 1)."""
    one = found.evaluation
    if one.passed:
        return
    what, instead = (
        ("failed", "withdraw these samples and evaluate again")
        if one.verdict == FAILED
        else ("was inconclusive", "evaluate more volumes, or against more people")
    )
    raise ReleaseError(
        f"its privacy audit {what}: {'; '.join(one.reasons)}. Nothing was written; {instead}, or"
        " publish with --despite-failed-audit, which the data card will say",
        exit_code=1,
    )


def images_file(digests: Mapping[int, str]) -> bytes:
    """images.parquet of the images that were seen, by index."""
    columns = {"index": list(digests), "sha256": list(digests.values())}
    return parquet_bytes(pa.table(columns, pa.schema(_IMAGES)))


def _images(data: bytes, name: str) -> dict[int, str]:
    table = table_from_bytes(data, name)
    if table.schema.names != [column for column, _ in _IMAGES]:
        raise ReleaseError(f"{name}: not the images of an evaluation: {AGAIN}")
    return dict(zip(table["index"].to_pylist(), table["sha256"].to_pylist(), strict=True))


def _check_images(found: EvaluationFolder, release: Release) -> None:
    """Raise where an image is not the one that was seen: an audit speaks of no other."""
    table = release.query(f"status = '{OK}'", columns=["index", "sha256"])
    now = dict(zip(table["index"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    other = [index for index, seen in found.images.items() if now.get(index, seen) != seen]
    if other:
        raise ReleaseError(
            f"--evaluation {found.folder} saw other images: {len(other):,} of {release.store.uri}"
            f" were made anew since, sample {min(other)} among them: {AGAIN}"
        )


def carried_files(
    release: Release, found: EvaluationFolder | None, gone: set[int]
) -> dict[str, bytes]:
    """The files of a release's evaluation, by key: a new one's, or those that it has.

    Args:
        gone: samples without image, whose rows and pictures go.
    """
    if found is not None:
        files = _unpictured(found.files, gone)
        return {MEASURED_KEY: parquet_bytes(without(found.measured, gone)), **files}
    keys = [key for key in release.about["files"] if is_evaluation(key)]
    stored = {key: release.store.get(key) for key in keys if key != MEASURED_KEY}
    files = _unpictured(stored, gone)
    if MEASURED_KEY in keys:
        files[MEASURED_KEY] = measured_without(release, gone)
    return files


def _unpictured(files: Mapping[str, bytes], gone: set[int]) -> dict[str, bytes]:
    """The report, by key, without pictures of those samples."""
    names = {key.removeprefix(f"{EVALUATION}/"): data for key, data in files.items()}
    changed, removed = without_pictures(names, gone)
    left = {name: data for name, data in {**names, **changed}.items() if name not in removed}
    return {f"{EVALUATION}/{name}": data for name, data in left.items()}


def measured_without(release: Release, gone: set[int]) -> bytes:
    """measured.parquet of a release, as it is but for the rows of those samples."""
    table = release.measured()
    kept = without(table, gone)
    return release.store.get(MEASURED_KEY) if kept is table else parquet_bytes(kept)


def _checked(folder: Path, files: dict[str, Any]) -> list[tuple[str, str]]:
    if len(files) > MOST_FILES:
        raise ReleaseError(f"--evaluation {folder}: {len(files)} files, expected fewer")
    for name, digest in files.items():
        if name not in (MEASURED_KEY, IMAGES_KEY) and not _NAME.fullmatch(name):
            raise ReleaseError(f"--evaluation {folder}: {name!a:.60} is no file of a report")
        if not isinstance(digest, str):
            raise ReleaseError(f"--evaluation {folder}: {JSON_KEY} is damaged: {AGAIN}")
    return sorted(files.items())


def _read(folder: Path, name: str, digest: str) -> bytes:
    try:
        path = folder / name
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError as error:
        line = f"--evaluation {folder}: {name} cannot be read ({error.strerror}): {AGAIN}"
        raise ReleaseError(line) from None
    if sha256(data) != digest:
        raise ReleaseError(f"--evaluation {folder}: {name} was changed since: {AGAIN}")
    return data
