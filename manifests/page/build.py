"""The files of a release's page, from the release alone."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import PAGE_KEY, T1W
from manifests.format.measured import beside, figures_of, measured_schema
from manifests.format.schema import WITHDRAWN
from manifests.format.segmentation.about import Segmentation
from manifests.page.columns import PageColumn, packed, page_columns, wanted_columns
from manifests.page.figures import Bins, bins_of, group_column
from manifests.page.head import hero_of, picture_key
from manifests.page.html import index_html, mosaic_column
from manifests.page.niivue import niivue
from manifests.page.pictures import MOSAIC, Sample, contact_sheet, evenly, shown_samples
from manifests.pictures.planes import PLANES
from manifests.pictures.png import png_bytes
from manifests.query.release import Release
from manifests.text import json_text, one_line

SHEET_KEY = "previews/contact-sheet.png"
COLUMNS_KEY, ROWS_KEY = "page/columns.json", "page/columns.bin"
ASSETS = (
    "base.css",
    "page.css",
    "local.js",
    "page.js",
    "rows.js",
    "choice.js",
    "figures.js",
    "mosaic.js",
    "pictures.js",
    "table.js",
    "viewer.js",
    "plane.js",
    "nifti.js",
    "niivue.js",
    "commands.js",
)
MOST_CARD_BYTES = 2**20
# An image that a browser may fetch only to draw its thumbnail; those of the demo model have 0.3 MB.
MOST_DRAWN_BYTES = 500_000


def page_files(release: Release, *, viewer: str | None = None) -> dict[str, bytes]:
    """The page of a release, by key: `index.html`, `page/...`, `previews/contact-sheet.png`.

    Read are the manifest, measured.parquet where there is one, README.md, CHANGES and at most
    `MOST_PICTURES` images; the same release gives the same bytes.

    Args:
        viewer: where NiiVue comes from, see `manifests.page.niivue.niivue`; None for the pinned
            version from a public mirror, which a reader's browser asks only when they choose it.

    Raises:
        ReleaseError: a wrong `viewer`; a file of the release that is missing or damaged (exit 1).
    """
    source = niivue(viewer)
    covariates = release.document.columns
    wanted = wanted_columns(release.schema, covariates)
    table = release.query(f"status != '{WITHDRAWN}'", columns=wanted)
    if release.is_measured:
        table = beside(table, release.measured(), figures_of(measured_schema()))
    columns = page_columns(table, covariates)
    bins = _bins(columns)
    specs, rows = packed(columns)
    samples = _hung(shown_samples(release), columns)
    assets = files("manifests.page") / "assets"
    page = {f"page/{name}": (assets / name).read_bytes() for name in ASSETS}
    page[ROWS_KEY] = rows
    page[COLUMNS_KEY] = _columns_json(
        columns,
        bins,
        specs,
        table.num_rows,
        sha256(rows),
        release.document.suffixes,
        release.document.segmentation if release.is_segmented else None,
        _pictured(samples, release.about["counts"]),
    )
    for sample in samples:
        page[picture_key(sample)] = png_bytes(sample.views["axial"])
    if hero := hero_of(samples):
        page |= {picture_key(hero, plane): png_bytes(hero.views[plane]) for plane in PLANES}
    if source.data is not None:
        page[source.src] = source.data
    page[SHEET_KEY] = contact_sheet(evenly(samples, MOSAIC))
    page[PAGE_KEY] = index_html(
        release,
        columns=columns,
        bins=bins,
        samples=samples,
        viewer=source,
        card=_text(release, "README.md"),
        changes=_text(release, "CHANGES"),
        digest=sha256(page[COLUMNS_KEY]),
    ).encode()
    return dict(sorted(page.items()))


def _hung(samples: list[Sample], columns: list[PageColumn]) -> list[Sample]:
    """The samples in order of the first covariate that is a number, by which one sees it act."""
    column = mosaic_column(columns)
    return samples if column is None else sorted(samples, key=lambda s: s.row[column.name])


def _bins(columns: list[PageColumn]) -> dict[str, Bins]:
    """The bins of each column of numbers; a measured one shares those of what it measures."""
    bins = {}
    for column in columns:
        if column.role in ("asked", "measured") and not column.levels:
            partners = [c for c in columns if c.name == column.shows or c.shows == column.name]
            bins[column.name] = bins_of(column.values, *(other.values for other in partners))
    return bins


def _columns_json(
    columns: list[PageColumn],
    bins: dict[str, Bins],
    specs: list[dict[str, Any]],
    rows: int,
    digest: str,
    suffixes: tuple[str, ...],
    segmentation: Segmentation | None,
    pictured: dict[str, Any],
) -> bytes:
    """What page.js is told of the columns and of `columns.bin`."""
    groups = group_column(columns)
    told = []
    for column, spec in zip(columns, specs, strict=True):
        about: dict[str, Any] = {
            "name": column.name,
            "label": one_line(column.label),
            "short": one_line(_short(column, columns)),
            "role": column.role,
            "unit": one_line(column.shown_unit),
            "per": column.per,
            "decimals": column.decimals,
            "levels": [one_line(level) for level in column.levels],
            "shows": column.shows,
            "stored": spec,
        }
        if column.name in bins:
            about["bins"] = vars(bins[column.name])
        told.append(about)
    document = {
        "rows": rows,
        "data": f"{ROWS_KEY}?{digest[:16]}",
        "groups": None if groups is None else groups.name,
        "pictured": pictured,
        **({"suffixes": list(suffixes)} if suffixes != (T1W,) else {}),
        **({"regions": _regions(segmentation)} if segmentation else {}),
        "columns": told,
    }
    return (json_text(json.dumps(document, ensure_ascii=False, indent=1)) + "\n").encode()


def _short(column: PageColumn, columns: list[PageColumn]) -> str:
    """What stands beside an asked value or below the word measured; no name stands twice."""
    asked = {other.short_label for other in columns if other.role == "asked"}
    clashes = column.role == "measured" and not column.shows and column.short_label in asked
    return column.label if clashes else column.short_label


def _pictured(samples: list[Sample], counts: dict[str, Any]) -> dict[str, Any]:
    """Which samples have a picture, as they hang, and how a browser may draw that of another."""
    size = (counts.get("image_bytes") or 0) / max(1, counts["ok"])
    height, width = samples[0].views["axial"].shape if samples else (1, 1)
    return {
        "indices": [sample.row["index"] for sample in samples],
        "width": width,
        "height": height,
        "crop": samples[0].crop if samples else (0, 0, 1, 1),
        "drawn": size <= MOST_DRAWN_BYTES,
    }


def _regions(segmentation: Segmentation) -> list[dict[str, Any]]:
    """What the viewer is told of the numbers in label maps."""
    return [
        {"number": one.number, "name": one.name, "colour": list(one.colour)}
        for one in segmentation.regions
    ]


def _text(release: Release, key: str) -> str:
    try:
        return release.store.get(key, most=MOST_CARD_BYTES).decode(errors="replace")
    except KeyError:
        line = f"{release.store.uri}: {key} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
