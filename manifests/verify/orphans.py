"""What lies below a release and is not of it: left over, withdrawn, or somebody else's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from manifests.changes.register import STAGED
from manifests.changes.seen import change_under_way, changed_keys
from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import (
    PLAN_KEY,
    RELEASE_KEY,
    TARGET_KEY,
    image_path,
    index_of,
    shard_of,
)
from manifests.format.schema import WITHDRAWN
from manifests.format.segmentation.layout import (
    REGIONS_KEY,
    is_map,
    labels_block_of,
    map_path,
)
from manifests.format.tombstones import paths
from manifests.metadata.pictures import cleared
from manifests.query.release import Release
from manifests.storage.base import LEASE_KEY, Entry
from manifests.verify.documents import read_or_why
from manifests.verify.findings import Report

OWN_KEYS = {RELEASE_KEY, PLAN_KEY, TARGET_KEY}
# What a reader of BIDS takes for an image of a subject; a derivative's name says that it is one.
_RAW = re.compile(
    r"sub-[A-Za-z0-9]+(_(?!desc|space|label|res|den|hemi|seg)[a-z]+-[A-Za-z0-9]+)*"
    r"_(T1w|T2w|T2starw|PDw|PDT2|FLAIR|inplaneT[12]|angio|bold|sbref|dwi|epi)\.nii(\.gz)?"
)


def check_orphans(
    release: Release,
    table: pa.Table,
    keys: Mapping[str, Entry],
    report: Report,
    *,
    maps: Collection[str],
) -> None:
    """What lies there and is not of the release.

    Args:
        maps: keys of its label maps.
    """
    known = OWN_KEYS | set(release.about["files"]) | set(table["path"].to_pylist()) | set(maps)
    known |= {part["key"] for part in release.about["parts"]}
    growing = _grows(release, table, keys, known)
    gone = paths(table.filter(pc.equal(table["status"], WITHDRAWN)), release.document.suffixes)
    withdrawn = set(gone.values())
    for key in cleared(release.store, release.about["files"], gone.keys()).shown:
        text = "it shows or tells of a sample that was withdrawn: run the same withdraw again"
        report.error("picture-withdrawn", key, text)
    changing = changed_keys(release.place)
    staged = set(filter(_is_staged, keys))
    if changing or staged:
        who = change_under_way(release.place) or "a change"
        text = f"{who} is not finished; if it was interrupted, run the same command again"
        report.warning("change-unfinished", LEASE_KEY, text)
    of_withdrawn = {map_path(index) for index in gone}
    segmenting = any(labels_block_of(key) is not None for key in keys)
    for key in sorted(keys.keys() - known - changing - staged):
        if shard_of(key) is not None:
            text = "a part that release.json does not name: the release is being made larger"
            report.warning("part-unlisted", key, text)
        elif key in withdrawn:
            text = "its sample was withdrawn: run the same `brainpress withdraw` again"
            report.error("image-withdrawn", key, text)
        elif key in of_withdrawn:
            text = "its sample was withdrawn: run the same `brainpress withdraw` again"
            report.error("label-withdrawn", key, text)
        elif labels_block_of(key) is not None or (segmenting and is_map(key)):
            text = "label maps are being made: if nobody does, run `brainpress segment` again"
            report.warning("change-unfinished", key, text)
        elif is_map(key):
            report.error("label-extra", key, f"{REGIONS_KEY} does not name it")
        elif _is_image(key) and not (growing and _is_later(key, table.num_rows, release)):
            report.error("image-extra", key, "the manifest does not name it")
        else:
            report.warning("file-unlisted", key, "it is not of this release")


def _is_image(key: str) -> bool:
    return key.startswith("sub-") and _RAW.fullmatch(key.rpartition("/")[2]) is not None


def unlisted(release: Release) -> list[str]:
    """Keys of what lies below the release and is not of it, in order.

    What a command that was interrupted wrote, and will take in when it is run again, is of it.

    Raises:
        ReleaseError: the storage does not list its files, so nobody can tell.
    """
    about = release.about
    known = OWN_KEYS | set(about["files"]) | {part["key"] for part in about["parts"]}
    known |= set(release.query(columns=["path"])["path"].to_pylist())
    if release.is_segmented:
        known |= set(release.regions(columns=["path"])["path"].to_pylist())
    known |= changed_keys(release.place)
    keys = [entry.key for entry in release.place.list()]
    return sorted(key for key in keys if key not in known and not _is_staged(key))


def _is_staged(key: str) -> bool:
    """Whether it waits for a change, or was left by one; the next change removes it."""
    return key.startswith(f"{STAGED}/")


def _grows(release: Release, table: pa.Table, keys: Mapping[str, Entry], known: set[str]) -> bool:
    """Whether more samples than these are being made, so that more images may lie there."""
    if any(shard_of(key) is not None for key in keys.keys() - known):
        return True
    data = read_or_why(release.store, TARGET_KEY, MOST_JSON_BYTES)
    try:
        asked = parse_json(data, TARGET_KEY).get("n") if isinstance(data, bytes) else None
    except ReleaseError:
        return False
    return isinstance(asked, int) and asked > table.num_rows


def _is_later(key: str, samples: int, release: Release) -> bool:
    """Whether it is the image of a sample that is still to come."""
    index = index_of(key.partition("/")[0])
    if index is None or index < samples:
        return False
    return key in {image_path(index, suffix) for suffix in release.document.suffixes}
