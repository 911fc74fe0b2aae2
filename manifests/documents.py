"""The files by which a release explains itself: BIDS metadata, README, licence, citation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.layout import BIDS_VERSION, NOT_BIDS, PARTICIPANTS_KEY
from manifests.ledger import json_bytes
from manifests.schema import OK, Column, manifest_schema

LICENSE_URLS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
}
DEMONSTRATION = (
    "This is a demonstration: its model is a small one that shows how the press works. Its images"
    " are for trying out tools, not for research about brains."
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
        license: SPDX identifier of the dataset's licence.
        license_text: the licence in full; without it LICENSE names it and says where it stands.
        authors: of the dataset.
        software_version: of brainpress.
        image: more about every image, for T1w.json, such as {"SpatialReference": ...}.
        date: of the release, YYYY-MM-DD. Nothing else in a release tells the time, so that the
            same release made twice has the same bytes.
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
    image: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None

    def __post_init__(self) -> None:
        for name in ("name", "license", "fingerprint", "software_version"):
            if not getattr(self, name):
                raise ReleaseError(f"release document: {name} is empty")
        if not self.model.get("name"):
            raise ReleaseError("release document: the model's card has no name")
        manifest_schema(self.columns, self.quality)

    @property
    def demonstration(self) -> bool:
        return bool(self.model.get("demo"))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the release's manifest."""
        return manifest_schema(self.columns, self.quality)

    def to_json(self) -> dict[str, Any]:
        """The part of release.json that is not counted from the samples."""
        return {
            "name": self.name,
            "demonstration": self.demonstration,
            "license": self.license,
            "authors": list(self.authors),
            "model": dict(self.model),
            "sampler": dict(self.sampler),
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "fields": dict(self.fields),
            "columns": [column.to_json() for column in self.columns],
            "quality": [column.to_json() for column in self.quality],
            "image": dict(self.image),
            "date": self.date,
            "software": {"name": "brainpress", "version": self.software_version},
        }

    @classmethod
    def from_json(cls, release: Mapping[str, Any], *, license_text: str = "") -> ReleaseDocument:
        """The document that a release.json was made from."""
        same = ("name", "model", "sampler", "seed", "fingerprint", "fields", "license")
        return cls(
            **{name: release[name] for name in same},
            license_text=license_text,
            authors=tuple(release["authors"]),
            columns=tuple(Column.from_json(item) for item in release["columns"]),
            quality=tuple(Column.from_json(item) for item in release["quality"]),
            image=release.get("image", {}),
            date=release.get("date"),
            software_version=release["software"]["version"],
        )


def documents(document: ReleaseDocument, table: pa.Table, *, extra: set[str]) -> dict[str, bytes]:
    """The explaining files of a release with these manifest rows, by key.

    `extra` are the keys of files that came from elsewhere, for .bidsignore.
    """
    return {
        "dataset_description.json": json_bytes(_dataset_description(document)),
        "README.md": _readme(document, table).encode(),
        "CHANGES": _changes(document, table).encode(),
        "LICENSE": _license(document).encode(),
        "CITATION.cff": _citation(document).encode(),
        PARTICIPANTS_KEY: participants_tsv(table, document.columns),
        "participants.json": json_bytes(_participants_json(document)),
        "T1w.json": json_bytes(_t1w_json(document)),
        ".bidsignore": _bidsignore(extra).encode(),
    }


def participants_tsv(table: pa.Table, columns: tuple[Column, ...]) -> bytes:
    """One line for each sample that has an image: its key, covariates, and whether extrapolated."""
    ok = table.filter(pc.equal(table["status"], OK))
    names = ["participant_id", *(column.name for column in columns), "extrapolated"]
    cells = [[_cell(value) for value in ok[name].to_pylist()] for name in names]
    lines = ["\t".join(names), *("\t".join(line) for line in zip(*cells, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _dataset_description(document: ReleaseDocument) -> dict[str, Any]:
    """Without authors and licence: BIDS wants them in one place, and CITATION.cff has them."""
    made = f"Synthetic images printed by brainpress from the model {document.model['name']}."
    generated = {
        "Name": "brainpress",
        "Version": document.software_version,
        "Description": f"{DEMONSTRATION} {made}" if document.demonstration else made,
    }
    return {
        "Name": f"{document.name} (demonstration)" if document.demonstration else document.name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [generated],
        "Keywords": ["synthetic", "MRI", "brain", "T1w"],
    }


def _participants_json(document: ReleaseDocument) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for column in document.columns:
        about: dict[str, Any] = {"Description": column.description or column.name}
        if column.unit:
            about["Units"] = column.unit
        if column.levels:
            about["Levels"] = {level: _level(column, level) for level in column.levels}
        described[column.name] = about
    described["extrapolated"] = {
        "Description": "whether a covariate lies outside the range that the model was trained on",
        "Levels": {"true": "outside", "false": "inside"},
    }
    return described


def _level(column: Column, level: str) -> str:
    sexes = {"F": "female", "M": "male"}
    return sexes.get(level, level) if column.name == "sex" else level


def _t1w_json(document: ReleaseDocument) -> dict[str, Any]:
    return {
        "Description": "Synthetic T1-weighted brain image, drawn from a generative model",
        "Units": "arbitrary",
        "SyntheticData": True,
        **document.image,
    }


def _changes(document: ReleaseDocument, table: pa.Table) -> str:
    ok = pc.sum(pc.equal(table["status"], OK)).as_py()
    heading = f"1.0.0 {document.date}" if document.date else "1.0.0"
    return f"{heading}\n  - {ok} synthetic volumes, seed {document.seed}\n"


def _license(document: ReleaseDocument) -> str:
    if document.license_text:
        return document.license_text.rstrip("\n") + "\n"
    lines = [f"{document.name} is licensed under {document.license}."]
    if url := LICENSE_URLS.get(document.license):
        lines.append(f"The text of the licence: {url}")
    if attribution := document.model.get("attribution"):
        lines += ["", f"Attribution: {attribution}"]
    return "\n".join(lines) + "\n"


def _citation(document: ReleaseDocument) -> str:
    # A JSON string is a YAML string, so json.dumps quotes whatever a name holds.
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this dataset, please cite it as below.",
        "type: dataset",
        f"title: {json.dumps(document.name, ensure_ascii=False)}",
        "authors:",
        *(f"  - name: {json.dumps(author, ensure_ascii=False)}" for author in document.authors),
    ]
    if document.license in LICENSE_URLS:
        lines.append(f"license: {document.license}")
    if document.date:
        lines.append(f"date-released: {document.date}")
    return "\n".join(lines) + "\n"


def _bidsignore(extra: set[str]) -> str:
    names = {*NOT_BIDS, *(key.partition("/")[0] for key in extra)}
    return "".join(f"{name}\n" for name in sorted(names))


def _readme(document: ReleaseDocument, table: pa.Table) -> str:
    ok = pc.sum(pc.equal(table["status"], OK)).as_py()
    failed = table.num_rows - ok
    model = document.model
    sampler = ", ".join(f"{name} {value}" for name, value in document.sampler.items())
    sections = [
        f"# {document.name}",
        f"**{DEMONSTRATION}**" if document.demonstration else "",
        f"{ok:,} synthetic T1-weighted brain images. Each is drawn from a generative model; none"
        " shows a person.",
        f"{failed:,} samples failed the quality check at every attempt and have no image."
        if failed
        else "",
        "## What is here\n\n"
        "- `sub-*/anat/*_T1w.nii.gz`: the images, a valid BIDS dataset.\n"
        "- `participants.tsv`: what each image was asked to show, explained in `participants.json`.\n"
        "- `manifest.parquet`: the same and more, with the SHA-256 of every image.\n"
        "- `release.json`: how it was made.",
        "## What the columns mean\n\n" + _column_table(document.columns),
        f"## How it was made\n\nModel: {model['name']}. {model.get('description', '')}\n\n"
        f"Sampler: {sampler}. Release seed: {document.seed}."
        f" Made with brainpress {document.software_version}.\n\n"
        "The same model, sampler and seed give the same samples again.",
        "## How to use a part of it\n\n"
        "    pip install brainpress\n"
        f'    brainpress query RELEASE --where "{_example(document.columns)}"\n'
        "    brainpress download RELEASE FOLDER --limit 10\n"
        "    brainpress verify FOLDER\n\n"
        "RELEASE is the folder or s3:// address where this file lies.",
        f"## Licence\n\n{document.license}. {model.get('attribution', '')}".rstrip(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _column_table(columns: tuple[Column, ...]) -> str:
    lines = ["| column | meaning | unit | range |", "|---|---|---|---|"]
    for column in columns:
        span = ", ".join(column.levels)
        if column.minimum is not None and column.maximum is not None:
            span = f"{column.minimum:,.6g} to {column.maximum:,.6g} in training"
        lines.append(f"| {column.name} | {column.description} | {column.unit} | {span} |")
    return "\n".join(lines)


def _example(columns: tuple[Column, ...]) -> str:
    """A `--where` that works with these columns."""
    parts = []
    for column in columns:
        if column.kind == "categorical":
            parts.append(f"{column.name} = '{column.levels[0]}'")
        elif column.minimum is not None and column.maximum is not None:
            parts.append(f"{column.name} > {(column.minimum + column.maximum) / 2:.4g}")
    return " and ".join(parts[:2]) or "index < 10"
