"""What a release says about itself, before its samples are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.format.evaluation import Evaluation
from manifests.format.extrapolation import check_told
from manifests.format.layout import CONTRASTS, MODALITY, T1W
from manifests.format.licenses import OWN
from manifests.format.published import Published, check_date
from manifests.format.schema import Column, manifest_schema
from manifests.format.segmentation.about import Segmentation

# What a user may choose; else it comes from the model's card.
CHOOSABLE = ("authors", "license", "name")
DEMONSTRATION = (
    "This is a demonstration: its model is a small one that shows how the press works. Its images"
    " are for trying out tools, not for research about brains."
)


NO_TEMPLATE = (
    "Each brain was put on the grid by the middle of its image, at its own tilt: the images lie in"
    " no template's space (MNI or other), and a coordinate is not the same place in two of them."
)


@dataclass(frozen=True, kw_only=True)
class ReleaseDocument:
    """What a release says about itself, and what its samples are a function of.

    Attributes:
        name: of the dataset, for people.
        model: the model's card: name, description, license, attribution, demo (bool), ...
        sampler: how the model was run, such as {"name": "ddim", "steps": 50}.
        seed: of the release; a sample is a function of it and of the sample's index.
        fingerprint, fields: as in the plan (`Ledger.begin`).
        columns, quality: the covariates and the measured figures of the manifest.
        license: SPDX identifier of the dataset's licence, or a `LicenseRef-`.
        license_text: the licence in full; without it LICENSE names it and says where it stands.
            release.json has that of a `LicenseRef-`, which stands nowhere else.
        authors: of the dataset.
        software_version: of brainpress.
        suffixes: the contrasts of its images; of several, the column `modality` tells which.
        image: more about every image, for T1w.json and its like, such as {"SpatialReference": ...}.
        space: in which the images lie, such as "centred", where it is none of a template; None
            where it is MNI space.
        date: of the release, YYYY-MM-DD. Nothing else in a release tells the time, so that the
            same release made twice has the same bytes.
        chosen: which of `CHOOSABLE` the user chose for this release.
        published: as what it was published; None where it was not.
        evaluation: what it tells of its evaluation; None where it was published without one.
        segmentation: what it tells of its label maps; None where it has none.
    """

    name: str
    model: Mapping[str, Any]
    sampler: Mapping[str, Any]
    seed: int
    fingerprint: str
    fields: Mapping[str, Any]
    columns: tuple[Column, ...]
    quality: tuple[Column, ...] = ()
    license: str
    license_text: str = ""
    authors: tuple[str, ...] = ("The brainpress authors",)
    software_version: str
    suffixes: tuple[str, ...] = (T1W,)
    image: Mapping[str, Any] = field(default_factory=dict)
    space: str | None = None
    date: str | None = None
    chosen: tuple[str, ...] = ()
    published: Published | None = None
    evaluation: Evaluation | None = None
    segmentation: Segmentation | None = None

    def __post_init__(self) -> None:
        for name in ("name", "license", "fingerprint", "software_version"):
            if not getattr(self, name):
                raise ReleaseError(f"release document: {name} is empty")
        if not self.model.get("name"):
            raise ReleaseError("release document: the model's card has no name")
        if self.date is not None:
            check_date(self.date)
        if not set(self.chosen) <= set(CHOOSABLE):
            raise ReleaseError(f"release document: chosen is {self.chosen!a:.80}")
        _ = self.schema
        check_told(self.columns)
        self._check_suffixes()

    def _check_suffixes(self) -> None:
        found = self.suffixes
        known = bool(found) and all(isinstance(one, str) and one in CONTRASTS for one in found)
        if not known or len(set(found)) < len(found):
            raise ReleaseError(
                f"release document: suffixes {found!a:.80}, expected some of {', '.join(CONTRASTS)}"
            )
        levels = [set(column.levels) for column in self.columns if column.name == MODALITY]
        if len(found) > 1 and not (levels and set(found) <= levels[0]):
            raise ReleaseError(
                f"release document: of several contrasts, expected a column {MODALITY} with "
                f"the levels {', '.join(found)}"
            )

    @property
    def demonstration(self) -> bool:
        return bool(self.model.get("demo"))

    @property
    def sampler_text(self) -> str:
        """The sampler for people: "ddim, steps 50"."""
        kind = [str(self.sampler[key]) for key in ("name", "sampler") if key in self.sampler]
        rest = {key: value for key, value in self.sampler.items() if key not in ("name", "sampler")}
        return ", ".join(kind + [f"{key} {value}" for key, value in rest.items()])

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the release's manifest."""
        told = "accelerator" in self.fields
        return manifest_schema(self.columns, self.quality, made_on=told)

    def grown_from(self, before: ReleaseDocument) -> ReleaseDocument:
        """This document, for the release that `before` tells of and that has grown.

        What the user chose before stays, unless it is chosen anew; so does what was published.
        """
        kept = (set(CHOOSABLE) & set(before.chosen)) - set(self.chosen)
        if before.published is not None:
            kept = set(CHOOSABLE) - set(self.chosen)
        chosen = tuple(sorted({*self.chosen, *before.chosen}))
        date = before.date if before.published else self.date
        kept |= {"license_text"} if "license" in kept else set()
        fields: dict[str, Any] = {name: getattr(before, name) for name in kept}
        return replace(
            self,
            **fields,
            chosen=chosen,
            date=date,
            published=before.published,
            evaluation=before.evaluation,
            segmentation=before.segmentation,
        )

    def to_json(self) -> dict[str, Any]:
        """The part of release.json that is not counted from the samples."""
        return {
            "name": self.name,
            "demonstration": self.demonstration,
            "license": self.license,
            **(
                {"license_text": self.license_text}
                if self.license_text and self.license.startswith(OWN)
                else {}
            ),
            "authors": list(self.authors),
            "chosen": sorted(self.chosen),
            "model": dict(self.model),
            "sampler": dict(self.sampler),
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "fields": dict(self.fields),
            "columns": [column.to_json() for column in self.columns],
            "quality": [column.to_json() for column in self.quality],
            **({"suffixes": list(self.suffixes)} if self.suffixes != (T1W,) else {}),
            "image": dict(self.image),
            **({"space": self.space} if self.space else {}),
            "date": self.date,
            "published": self.published.to_json() if self.published else None,
            **({"evaluation": self.evaluation.to_json()} if self.evaluation else {}),
            **({"segmentation": self.segmentation.to_json()} if self.segmentation else {}),
            "software": {"name": "brainpress", "version": self.software_version},
        }

    @classmethod
    def from_json(cls, release: Mapping[str, Any], *, license_text: str = "") -> ReleaseDocument:
        """The document that a release.json was made from."""
        same = ("name", "model", "sampler", "seed", "fingerprint", "fields", "license")
        return cls(
            **{name: release[name] for name in same},
            license_text=license_text or release.get("license_text") or "",
            authors=tuple(release["authors"]),
            columns=tuple(Column.from_json(item) for item in release["columns"]),
            quality=tuple(Column.from_json(item) for item in release["quality"]),
            suffixes=tuple(release.get("suffixes", (T1W,))),
            image=release.get("image", {}),
            space=release.get("space"),
            date=release.get("date"),
            chosen=tuple(release.get("chosen") or ()),
            published=Published.from_json(release.get("published")),
            evaluation=Evaluation.from_json(release.get("evaluation")),
            segmentation=Segmentation.from_json(release.get("segmentation")),
            software_version=release["software"]["version"],
        )
