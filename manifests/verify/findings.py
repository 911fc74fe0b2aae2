"""What `verify` finds wrong with a release, and what each code means (docs/verify.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: an error makes the release unfit; a warning is worth a look.
        code: of the kind of thing, stable for scripts; one of `CODES`.
        key: what it is about.
    """

    severity: Severity
    code: str
    key: str
    text: str

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code


@dataclass(kw_only=True)
class Report:
    """What was checked and what was found.

    Attributes:
        samples: rows of the manifest.
        images: checked.
        image_bytes: what was read of them, as the manifest says.
        maps: label maps checked.
        remembered: images among them that were found sound by an earlier check and not read again.
        not_read: images that a sample left out; of them only presence and size are known.
    """

    uri: str
    samples: int = 0
    images: int = 0
    image_bytes: int = 0
    maps: int = 0
    remembered: int = 0
    not_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def error(self, code: str, key: str, text: str) -> None:
        self.findings.append(Finding("error", code, key, text))

    def warning(self, code: str, key: str, text: str) -> None:
        self.findings.append(Finding("warning", code, key, text))

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "uri": self.uri,
            "samples": self.samples,
            "images": self.images,
            "image_bytes": self.image_bytes,
            "maps": self.maps,
            "remembered": self.remembered,
            "not_read": self.not_read,
            "findings": [asdict(finding) for finding in self.findings],
        }


# Of images that `generate --repair` makes again.
REMADE = frozenset({"image-missing", "image-size", "image-changed", "image-swapped"})

CODES: dict[str, str] = {
    # release.json, and the documents that it names
    "release-missing": "a finished release lies there, and its release.json does not",
    "release-damaged": "release.json is not what a release.json is",
    "release-demonstration": "release.json says of the model's card what the card does not",
    "file-missing": "a document that release.json names is not there",
    "file-refused": "a document cannot be read, is too large, or is a link that leads out",
    "file-changed": "a document's SHA-256 is not the one in release.json",
    "file-unnamed": "release.json gives no digest of a document that every release has",
    "change-unfinished": "a change of the release is under way or was interrupted (a warning)",
    "closed-open": "it says that it was unpublished, and anyone can read it: `unpublish` it again",
    "file-unlisted": "a file that is not of the release (a warning)",
    "not-listed": "the storage does not list its files, so none too many is found (a warning)",
    # the ledger
    "plan-missing": "a release with parts has no manifest/plan.json",
    "plan-differs": "manifest/plan.json is of another release than release.json",
    "part-missing": "a part of the manifest is not there",
    "part-refused": "a part cannot be read, is too large, or is a link that leads out",
    "part-unreadable": "a part is no whole Parquet file",
    "part-repeated": "release.json names a part twice",
    "part-misplaced": "a part has the samples of another part",
    "part-short": "a part has fewer rows than the manifest",
    "part-rows": "a part tells something else of its samples than the manifest: it is stale",
    "part-changed": "a part has the right rows, and another SHA-256 than in release.json",
    "part-grown": "a part has more rows: the release is being made larger (a warning)",
    "part-unlisted": "a part beyond those of release.json: being made larger (a warning)",
    # the manifest
    "manifest-unreadable": "manifest.parquet is no whole Parquet file",
    "manifest-schema": "the manifest's columns are not those of release.json",
    "counts": "release.json counts other samples, images or bytes than the manifest",
    "index-repeated": "a sample is in the manifest twice",
    "index-order": "the manifest is not sorted by index",
    "index-gap": "the manifest lacks a sample between 0 and its last",
    "row-name": "a row's participant_id is not that of its index",
    "row-path": "a row's path is not that of its index, or its size or digest is absent",
    "row-seed": "a row's seed is not the release's",
    "row-status": "a row says both that the sample has no image and where it lies, or not why",
    "sample-failed": "no attempt at the sample passed the press's checks, so it has no image",
    "covariate": "a category that the model does not know",
    "covariate-scaled": "a covariate as scaled for the model is not that of its value",
    "extrapolated": "a row says of its covariates' range, or of what is told, what is not so",
    "image-repeated": "several rows have one and the same image",
    # measured.parquet
    "measured-unreadable": "measured.parquet is no whole Parquet file",
    "measured-schema": "the columns of measured.parquet are not those of its version",
    "measured-repeated": "an image is in measured.parquet twice, or it is not sorted by index",
    "measured-sample": "a row of measured.parquet is of no sample that has an image here",
    "measured-row": "a row of measured.parquet lacks a figure, or is called after another sample",
    # regions.parquet and the label maps
    "labels-unreadable": "regions.parquet is no whole Parquet file",
    "labels-schema": "the columns of regions.parquet are not those of release.json",
    "labels-repeated": "an image is in regions.parquet twice, or it is not sorted by index",
    "labels-sample": "a row of regions.parquet is of no sample that has an image here",
    "labels-row": "a row of regions.parquet lacks a volume, or its map is another sample's",
    "labels-stale": "an image is another than the one that was segmented: `segment` again",
    "labels-missing": "an image has no label map yet (a warning): `segment` again",
    "labels-refused": "an image that could not be segmented, and why (a warning)",
    "labels-table": "what the numbers in the maps mean is not as release.json says",
    "label-missing": "a label map of regions.parquet is not there: `segment` again",
    "label-size": "a label map has another size than regions.parquet says: `segment` again",
    "label-changed": "a label map's SHA-256 is not that of regions.parquet: `segment --repair`",
    "label-content": "a label map is no sound NIfTI volume, or has a number that means nothing",
    "label-geometry": "a label map has another shape or affine than the images",
    "label-unreadable": "a label map cannot be read, though other files can, or is a link",
    "label-withdrawn": "the label map of a withdrawn sample is still there: run `withdraw` again",
    "label-extra": "a label map that regions.parquet does not name",
    # the images
    "image-missing": "an image of the manifest is not there",
    "image-key": "an image is a link that leads out of the release, or no plain file",
    "image-size": "an image has another size than the manifest says, as one cut off has",
    "image-changed": "an image's SHA-256 is not the manifest's",
    "image-swapped": "what lies there is the image of another sample",
    "image-content": "an image is no sound NIfTI volume: broken, empty, not finite, not 3-D",
    "image-header": "a header without unit or space, or one that contradicts itself or its release",
    "image-geometry": "an image's grid, type or scaling is not that of the first",
    "image-withdrawn": "the image of a withdrawn sample is still there: run `withdraw` again",
    "image-extra": "an image in a subject's folder that the manifest does not name",
    "image-unreadable": "an image cannot be read, though other files can",
    "picture-withdrawn": "an evaluation has a withdrawn sample in it: run `withdraw` again",
    # a set of tar shards
    "shards-damaged": "index.json or index.parquet is not what it is to be",
    "shard-missing": "a shard that index.json names is not there",
    "shard-changed": "a shard's size or SHA-256 is not the one in index.json",
    "shard-images": "a shard has other images than index.parquet says, or at other places",
    # the BIDS tables
    "participants": "participants.tsv says something else of a sample than the manifest",
    "participants-rows": "participants.tsv has other participants than the manifest, or one twice",
    "participants-json": "participants.json does not describe the columns of participants.tsv",
    "description": "dataset_description.json is none, or of another BIDS version or type",
}
