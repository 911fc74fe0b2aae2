"""Where the label maps of a release lie, and what else their derivative dataset has, by key."""

from __future__ import annotations

import re

from manifests.format.layout import participant_id

SEGMENTATION = "derivatives/segmentation"
_FOLDER = f"{SEGMENTATION}/"
_STEM = "desc-regions_dseg"
REGIONS_KEY = "regions.parquet"  # a row for each image
LABELS_KEY = f"{_FOLDER}{_STEM}.tsv"  # what the numbers in the maps mean
SIDECAR_KEY = f"{_FOLDER}{_STEM}.json"
VOLUMES_KEY = f"{_FOLDER}participants.tsv"
COLUMNS_KEY = f"{_FOLDER}participants.json"
ABOUT_KEY = f"{_FOLDER}dataset_description.json"
README_KEY = f"{_FOLDER}README.md"
# What release.json names of it; the maps themselves are named by the table.
NAMED = (
    README_KEY, ABOUT_KEY, LABELS_KEY, SIDECAR_KEY, COLUMNS_KEY, VOLUMES_KEY, REGIONS_KEY,
)  # fmt: skip
_PARTS = "manifest/regions/"  # while images are being segmented


def map_path(index: int) -> str:
    """Where the label map of a sample's T1w image lies."""
    key = participant_id(index)
    return f"{_FOLDER}{key}/anat/{key}_{_STEM}.nii.gz"


def is_segmentation(key: str) -> bool:
    """Whether a file of a release is of its label maps: a map, or what describes them."""
    return key == REGIONS_KEY or key.startswith(_FOLDER)


def is_map(key: str) -> bool:
    """Whether a key is that of some sample's label map."""
    found = re.fullmatch(rf"{_FOLDER}sub-(\d{{6,18}})/.*", key)
    return found is not None and map_path(int(found[1])) == key


def labels_part_key(block: int) -> str:
    """Where the rows of a block of images are kept until all are there: its commit mark."""
    return f"{_PARTS}part-{block:05d}.parquet"


def labels_block_of(key: str) -> int | None:
    """The block whose rows are kept at `key`; None where it is no part."""
    found = re.fullmatch(rf"{_PARTS}part-(\d{{5,18}})\.parquet", key)
    return int(found[1]) if found and labels_part_key(int(found[1])) == key else None


PARTS_PREFIX, MAPS_PREFIX = f"{_PARTS}part-", f"{_FOLDER}sub-"
