"""Where the things of a release lie, by key relative to the release."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

RELEASE_KEY = "release.json"
MANIFEST_KEY = "manifest.parquet"
PARTICIPANTS_KEY = "participants.tsv"
DESCRIPTION_KEY = "dataset_description.json"
PAGE_KEY = "index.html"
CROISSANT_KEY = "croissant.json"
DATACITE_KEY, ZENODO_KEY = "datacite.json", ".zenodo.json"  # of a published release
HUB_TABLE_KEY = "metadata.parquet"  # a name that the Hugging Face Hub looks for
SAMPLES_KEY = "previews/samples.png"
MEASURED_KEY = "measured.parquet"  # of a release that was evaluated
EVALUATION = "evaluation"
VERSIONS = "versions"
RELEASE_FORMAT, RELEASE_VERSION = "brainpress-release", 1
BIDS_VERSION = "1.10.0"
MOST_IMAGE_BYTES = 2**30  # of a stored image; a volume of the paper's size has some 6 MB
# What a release holds that BIDS does not know. (The validator wants folders without a slash.)
NOT_BIDS = (CROISSANT_KEY, HUB_TABLE_KEY, "manifest", MANIFEST_KEY, RELEASE_KEY)


def participant_id(index: int) -> str:
    """The BIDS key of a sample: sub-000000, with a seventh digit from a million on."""
    return f"sub-{index:06d}"


def index_of(participant: str) -> int | None:
    """The sample that sub-000001, 000001 and 1 name; None of what is the name of none."""
    bare = participant.removeprefix("sub-")
    return int(bare) if bare.isascii() and bare.isdecimal() and len(bare) < 19 else None


T1W = "T1w"
# The contrasts that a release may have, by BIDS suffix, and their names for people.
CONTRASTS = {
    T1W: "T1-weighted",
    "T2w": "T2-weighted",
    "PDw": "proton-density-weighted",
    "FLAIR": "FLAIR",
    "T2starw": "T2*-weighted",
}
MODALITY = "modality"  # the covariate that tells a sample's contrast, where there are several


def image_path(index: int, suffix: str = T1W) -> str:
    """Where the image of a sample lies."""
    key = participant_id(index)
    return f"{key}/anat/{key}_{suffix}.nii.gz"


def row_path(row: Mapping[str, Any], suffixes: Sequence[str]) -> str:
    """Where the image of a manifest's row lies, in a release of these contrasts."""
    asked = row.get(MODALITY) if len(suffixes) > 1 else None
    return image_path(row["index"], next((s for s in suffixes if s == asked), suffixes[0]))


def weighted(suffixes: Sequence[str]) -> str:
    """Contrasts for people: "T1-weighted, T2-weighted and FLAIR"."""
    *first, last = (CONTRASTS[suffix] for suffix in suffixes)
    return f"{', '.join(first)} and {last}" if first else last


PLAN_KEY = "manifest/plan.json"
TARGET_KEY = "manifest/target.json"


def part_key(shard: int) -> str:
    """Where the rows of a shard are kept. Its presence is the shard's commit mark."""
    return f"manifest/part-{shard:05d}.parquet"


def shard_of(key: str) -> int | None:
    """The shard whose part is kept at `key`; None where it is no part."""
    match = re.fullmatch(r"manifest/part-(\d{5,})\.parquet", key)
    return int(match[1]) if match and part_key(int(match[1])) == key else None
