"""What a release holds, how it was made, and which columns its manifest has."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from manifests.commands.shared import add_release, add_version, place_of, reads_whole
from manifests.numbers import human_bytes, human_number
from manifests.text import json_text, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from manifests.format.document import ReleaseDocument
    from manifests.format.schema import Column
    from manifests.query.release import Release

WIDTH = 88


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    add_version(parser)
    parser.add_argument("--json", action="store_true", help="print release.json as it is")
    parser.epilog = (
        "examples:\n  brainpress info s3://bucket/release\n"
        "  brainpress info https://host/release --json"
    )


@reads_whole
def run(args: argparse.Namespace) -> int:
    from manifests.query.release import Release

    release = Release.at(place_of(args), version=args.release_version)
    if args.json:
        print(json_text(json.dumps(release.about, indent=2, ensure_ascii=False)))
    else:
        print(printable(_describe(release)))
    return 0


def _describe(release: Release) -> str:
    about, document = release.about, release.document
    from manifests.metadata.quality import privacy_told

    counts, model = about["counts"], document.model
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    withdrawn = f", {counts['withdrawn']:,} withdrawn" if counts.get("withdrawn") else ""
    facts = {
        "release": document.name,
        "at": shlex.join(release.store.words),
        "version": _version(release),
        "images": f"{counts['ok']:,}{failed}{withdrawn}, {human_bytes(counts['image_bytes'])}",
        "model": f"{model['name']}: {model['description']}"
        if model.get("description")
        else model["name"],
        "space": f"{document.space}: in no template's space" if document.space else "",
        "sampler": document.sampler_text,
        "seed": str(document.seed),
        "evaluation": document.evaluation.told if document.evaluation else "",
        "privacy": privacy_told(document.evaluation, samples=_whole(about)),
        "label maps": _label_maps(document),
        "licence": document.license,
        "attribution": str(model.get("attribution") or ""),
        "made with": f"brainpress {document.software_version}",
        "part of": _source(about),
        "sha256": f"{release.digest} of release.json: what --expect takes",
    }
    lines = []
    if document.demonstration:
        from manifests.format.document import DEMONSTRATION

        lines += [*textwrap.wrap(DEMONSTRATION, WIDTH), ""]
    for name, text in facts.items():
        if text:
            indent = " " * 13
            start = f"{name:<13}"
            lines += textwrap.wrap(
                text, WIDTH, initial_indent=start, subsequent_indent=indent, break_long_words=False
            )
    return "\n".join([*lines, "", *_columns(release)])


def _version(release: Release) -> str:
    """Which version it is; of a release that has changed since, what has, and what to do."""
    from manifests.format.published import changed_since

    published = release.document.published
    if published is None:
        return ""
    if published.closed is not None:
        return f"{published.last.version} of {published.last.date}. {published.closed.told}"
    if changed := changed_since(release.about, published):
        if release.about.get("source"):
            return f"it has {changed}"
        if _is_only_read(release.store.uri):  # by somebody who is not its publisher
            last = published.last.version
            return f"it has {changed}, as no version has it yet: see --release-version {last}"
        return f"it has {changed}: run `brainpress publish`"
    if release.about.get("opened_version"):
        return f"{published.last.version} of {published.last.date}"
    earlier = ", ".join(version.version for version in published.versions[1:6])
    before = f" (before: {earlier})" if earlier else ""
    return f"{published.last.version} of {published.last.date}{before}"


def _is_only_read(uri: str) -> bool:
    return "://" in uri and not uri.startswith("s3://")


def _label_maps(document: ReleaseDocument) -> str:
    told = document.segmentation
    return f"{told.told}; under {told.license}" if told else ""


def _whole(about: dict[str, Any]) -> int:
    """Samples of the whole release."""
    source = about.get("source") or {}
    return int(source.get("samples") or about["counts"]["samples"])


def _source(about: dict[str, Any]) -> str:
    source = about.get("source") or {}
    return f"{source['uri']} ({source['samples']:,} samples)" if source else ""


def _columns(release: Release) -> list[str]:
    """A line a covariate: what it means, and what the release has of it; then other columns."""
    covariates = [column.name for column in release.document.columns]
    lines = ["covariates   none: the model is unconditional"]
    if covariates:
        table = release.query("status = 'ok'", columns=covariates)
        lines = ["covariates   (a range is the release's own)"]
        lines += [_column(column, table) for column in release.document.columns]
    others = [name for name in release.schema.names if name not in covariates]
    lines += ["", "more columns"]
    text = ", ".join(others)
    lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    if release.is_measured:
        from manifests.format.measured import measured_schema

        lines += ["", "columns of the table measured, which joins by index"]
        text = ", ".join(measured_schema().names)
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    if release.is_segmented:
        lines += ["", "columns of the table regions, which joins by index"]
        text = ", ".join(release.regions_schema.names)
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def _column(column: Column, table: pa.Table) -> str:
    import pyarrow.compute as pc

    values = table[column.name]
    if column.kind == "categorical":
        counted = {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}
        span = ", ".join(f"{level} {counted.get(level, 0):,}" for level in column.levels)
    else:
        ends = pc.min_max(values).as_py()
        span = "none"
        if len(values):
            low, high = human_number(ends["min"]), human_number(ends["max"])
            span = f"{low} to {high} {column.unit}"
    return f"  {column.name:<20} {span.rstrip():<32} {column.description}".rstrip()
