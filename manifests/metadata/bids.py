"""The files by which a release explains itself: BIDS metadata, licence, citation."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.document import DEMONSTRATION, NO_TEMPLATE, ReleaseDocument
from manifests.format.json_text import json_bytes
from manifests.format.layout import (
    BIDS_VERSION,
    CONTRASTS,
    CROISSANT_KEY,
    DATACITE_KEY,
    DESCRIPTION_KEY,
    HUB_TABLE_KEY,
    NOT_BIDS,
    VERSIONS,
    ZENODO_KEY,
)
from manifests.format.licenses import license_url
from manifests.format.schema import OK, Column
from manifests.metadata.citation import catalogue_files, citation_cff, keywords
from manifests.metadata.quality import privacy_told
from manifests.metadata.readme import readme
from manifests.text import one_line


def documents(
    document: ReleaseDocument,
    *,
    ok: int,
    failed: int,
    extra: set[str],
    spread: str = "",
    withdrawn: int = 0,
    changed: str | None = None,
    part: bool = False,
    whole: int | None = None,
) -> dict[str, bytes]:
    """The explaining files of a release with so many samples, by key; but for participants.tsv.

    Args:
        changed: what has become of it since it was published, as of `published.changed_since`.
        part: whether it is a downloaded part of a release.
        whole: how many samples that release has.
        extra: the keys of files that came from elsewhere, for .bidsignore.
        spread: how the covariates are spread, as Markdown, for the README.
    """
    samples = ok + failed + withdrawn if whole is None else whole
    published = [DATACITE_KEY, VERSIONS] if document.published else []
    return {
        DESCRIPTION_KEY: json_bytes(_dataset_description(document, samples)),
        "README.md": readme(
            document,
            ok=ok,
            failed=failed,
            spread=spread,
            withdrawn=withdrawn,
            changed=changed,
            part=part,
            whole=whole,
        ).encode(),
        "CHANGES": _changes(document, ok).encode(),
        "LICENSE": license_text(document).encode(),
        "CITATION.cff": citation_cff(document, changed=changed is not None),
        "participants.json": json_bytes(_participants_json(document)),
        **{f"{x}.json": json_bytes(_image_json(document, x)) for x in document.suffixes},
        ".bidsignore": _bidsignore(extra, published).encode(),
        **(
            {}
            if part
            else catalogue_files(document, ok=ok, samples=samples, changed=changed is not None)
        ),
    }


DOCUMENTS = (
    DESCRIPTION_KEY,
    "README.md",
    "CHANGES",
    "LICENSE",
    "CITATION.cff",
    "participants.json",
    *(f"{suffix}.json" for suffix in CONTRASTS),
    ".bidsignore",
    CROISSANT_KEY,
    DATACITE_KEY,
    ZENODO_KEY,
    HUB_TABLE_KEY,
)


def is_document(key: str) -> bool:
    """Whether it is one of the explaining files, which are made anew with every change."""
    return key in DOCUMENTS


def participants_tsv(table: pa.Table, columns: tuple[Column, ...]) -> bytes:
    """One line for each sample that has an image: its key, covariates, and whether extrapolated.

    Of an unconditional model the keys alone.
    """
    return participants_header(columns) + participants_lines(table, columns)


def participants_header(columns: tuple[Column, ...]) -> bytes:
    return ("\t".join(_participants_names(columns)) + "\n").encode()


def participants_lines(table: pa.Table, columns: tuple[Column, ...]) -> bytes:
    """The lines of these manifest rows, without the header."""
    ok = table.filter(pc.equal(table["status"], OK))
    names = _participants_names(columns)
    cells = [_cells(ok[name]) for name in names]
    return "".join("\t".join(line) + "\n" for line in zip(*cells, strict=True)).encode()


def _participants_names(columns: tuple[Column, ...]) -> list[str]:
    asked = [*(column.name for column in columns), "extrapolated"] if columns else []
    return ["participant_id", *asked]


def _cells(column: pa.ChunkedArray) -> list[str]:
    """A column's values as text; those of a whole column of one kind are not asked for theirs."""
    values: list[Any] = column.to_pylist()
    if column.null_count == 0 and pa.types.is_string(column.type):
        return values
    if column.null_count == 0 and pa.types.is_floating(column.type):
        return [repr(value) for value in values]
    return [_cell(value) for value in values]


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _dataset_description(document: ReleaseDocument, samples: int) -> dict[str, Any]:
    """Without authors and licence: BIDS wants them in one place, and CITATION.cff has them."""
    doi = document.published.doi if document.published else None
    made = f"Synthetic images printed by brainpress from the model {document.model['name']}."
    made += f" {privacy_told(document.evaluation, samples=samples)}"
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
        **({"DatasetDOI": f"doi:{doi}"} if doi else {}),
        "Keywords": keywords(document),
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
    if not document.columns:
        return described
    described["extrapolated"] = {
        "Description": "whether a covariate, or what the model is told in its place, lies outside "
        "the range that the model was trained on",
        "Levels": {"true": "outside", "false": "inside"},
    }
    return described


def _level(column: Column, level: str) -> str:
    sexes = {"F": "female", "M": "male"}
    return sexes.get(level, level) if column.name == "sex" else level


def _image_json(document: ReleaseDocument, suffix: str) -> dict[str, Any]:
    what = f"Synthetic {CONTRASTS[suffix]} brain image, drawn from a generative model"
    return {
        "Description": f"{what}. {NO_TEMPLATE}" if document.space else what,
        "Units": "arbitrary",
        "SyntheticData": True,
        **document.image,
    }


def _changes(document: ReleaseDocument, ok: int) -> str:
    """As BIDS wants it, in the form of CPAN: newest first."""
    if document.published:
        entries = [
            f"{version.version} {version.date}\n" + "".join(f"  - {c}\n" for c in version.changes)
            for version in document.published.versions
        ]
        return "\n".join(entries)
    heading = f"1.0.0 {document.date}" if document.date else "1.0.0"
    return f"{heading}\n  - {ok} synthetic volumes, seed {document.seed}\n"


def license_text(document: ReleaseDocument) -> str:
    """LICENSE: its text, or its name and where its text stands."""
    if document.license_text:
        return document.license_text.rstrip("\n") + "\n"
    lines = [one_line(f"{document.name} is licensed under {document.license}.")]
    if url := license_url(document.license):
        lines.append(f"The text of the licence: {url}")
    if attribution := document.model.get("attribution"):
        lines += ["", one_line(f"Attribution: {attribution}")]
    return "\n".join(lines) + "\n"


def _bidsignore(extra: set[str], versions: list[str]) -> str:
    names = {*NOT_BIDS, *versions, *(key.partition("/")[0] for key in extra)} - {"derivatives"}
    return "".join(f"{name}\n" for name in sorted(names))
