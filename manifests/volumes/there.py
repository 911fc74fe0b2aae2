"""What lies already in the folder that a download goes to: whose it is, and whether it may stay."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY, participant_id
from manifests.format.parquet import MOST_FILE_BYTES, table_from_bytes
from manifests.format.release_json import read_release
from manifests.format.schema import OK, same_columns
from manifests.format.tombstones import tombstones
from manifests.query.release import Release
from manifests.storage.base import TooLargeError
from manifests.storage.local import LocalStore
from manifests.storage.threads import in_threads
from manifests.volumes.images import Image, images_of
from manifests.volumes.subset import noted_by_a_killed_one


class Existing(StrEnum):
    """What to do with a file that is there already and is not the release's."""

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"


class Found(StrEnum):
    """What lies where an image is to go."""

    NOTHING = "nothing"
    THE_IMAGE = "the image"
    ANOTHER_FILE = "another file"


def look(target: LocalStore, image: Image) -> Found:
    """What lies where an image is to go."""
    try:
        there = target.get(image.path, most=image.bytes)
    except KeyError:
        return Found.NOTHING
    except TooLargeError:
        return Found.ANOTHER_FILE
    same = len(there) == image.bytes and sha256(there) == image.sha256
    return Found.THE_IMAGE if same else Found.ANOTHER_FILE


def judged(others: Sequence[str], target: LocalStore, existing: Existing) -> list[str]:
    """Which files of others stay as they are, as it was asked; raises where none may be touched."""
    if existing is Existing.OVERWRITE or not others:
        return []
    needed = [key for key in others if key in (MANIFEST_KEY, RELEASE_KEY)]
    if existing is Existing.SKIP and not needed:
        return list(others)
    key = needed[0] if needed else others[0]
    raise ReleaseError(
        f"{target.uri}/{key} is there and is not the release's file, or was changed since it was"
        " downloaded; choose another folder, or --existing overwrite to replace such files"
        + ("" if needed else ", or skip to leave them")
    )


def rows_already_there(
    target: LocalStore, release: Release, chosen: pa.Table, existing: Existing
) -> pa.Table | None:
    """The rows of earlier downloads of the same release into this folder; None in a new one."""
    try:
        target.get(RELEASE_KEY)
    except KeyError:
        return _rows_of_images(target, release, [chosen])
    about = read_release(target)
    if about.get("fingerprint") != release.about["fingerprint"] or not about.get("source"):
        raise ReleaseError(
            f"{target.uri} holds {'another release' if about.get('source') else 'a release itself'}"
            f" ({about.get('name')}); choose an empty or new folder"
        )
    try:
        data = target.get(MANIFEST_KEY, most=MOST_FILE_BYTES)
    except KeyError:
        return _rows_of_images(target, release, [chosen])
    noted = noted_by_a_killed_one(target).get(MANIFEST_KEY)
    if sha256(data) not in (about["files"].get(MANIFEST_KEY), noted):
        judged([MANIFEST_KEY], target, existing)
        return _rows_of_images(target, release, [chosen])
    rows = table_from_bytes(data, f"{target.uri}/{MANIFEST_KEY}")
    if not same_columns(rows.schema, release.schema):
        return _rows_of_images(target, release, [chosen])
    more = _rows_of_images(target, release, [chosen, rows])
    return rows if more is None else pa.concat_tables([rows, more])


def _rows_of_images(
    target: LocalStore, release: Release, known: Sequence[pa.Table]
) -> pa.Table | None:
    """The rows of images that a killed download left before it wrote its metadata."""
    there = {entry.key for entry in target.list("sub-")}
    for table in known:
        there.difference_update(table["path"].to_pylist())
    if not there:
        return None
    rows = release.query(f"status = '{OK}'")
    rows = rows.filter(pc.is_in(rows["path"], pa.array(sorted(there), pa.string())))
    images = images_of(rows, release.store.uri)
    found = in_threads(partial(look, target), images)
    return rows.filter(pa.array([one is Found.THE_IMAGE for one in found], pa.bool_()))


def withdrawn_since(release: Release, kept: pa.Table | None) -> dict[str, str]:
    """Which of the rows of an earlier download were withdrawn since, by participant_id, and why."""
    if kept is None:
        return {}
    gone = tombstones(release.query(columns=["index", "status", "error"]))
    return {participant_id(i): gone[i] for i in kept["index"].to_pylist() if i in gone}
