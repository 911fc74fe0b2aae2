"""index.html of a release: its template filled with escaped text."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

from manifests.format.document import DEMONSTRATION, ReleaseDocument
from manifests.format.evaluation import REPORT_KEY
from manifests.format.layout import participant_id, weighted
from manifests.format.licenses import license_url
from manifests.metadata.citation import schema_org
from manifests.metadata.quality import privacy_told
from manifests.numbers import human_bytes, human_number
from manifests.page.card import card_html
from manifests.page.columns import PageColumn
from manifests.page.figures import Bins, group_column, histogram
from manifests.page.niivue import Viewer
from manifests.page.pictures import Sample
from manifests.query.release import Release
from manifests.text import json_text, one_line, without_credentials

POLICY = (
    "default-src 'none'; script-src 'self' {viewer}; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
)
NAMES = {"extrapolated": {"false": "inside the range", "true": "extrapolated"}}
SEXES = {"F": "female", "M": "male"}


def index_html(
    release: Release,
    *,
    columns: Sequence[PageColumn],
    bins: Mapping[str, Bins],
    samples: Sequence[Sample],
    viewer: Viewer,
    card: str,
    changes: str,
    digest: str,
) -> str:
    """The page; `digest` is that of `columns.json`, so that no stale copy of it is used."""
    document = release.document
    counts = release.about["counts"]
    ok = counts["ok"]
    template = Template((files("manifests.page") / "assets" / "index.html").read_text("utf-8"))
    images = "image" if ok == 1 else "images"
    there = [s for s in document.suffixes if f"{s}.json" in release.about["files"]]
    return template.substitute(
        policy=html.escape(" ".join(POLICY.format(viewer=viewer.allowed).split())),
        title=_text(document.name).replace("T1-", "T1\u2011"),
        lede=f"{ok:,} synthetic {weighted(there or document.suffixes)} brain {images}, "
        "drawn from a generative model. "
        + privacy_told(document.evaluation, samples=counts["samples"], one=ok == 1),
        banner=_banners(document),
        linked_data=_linked_data(document, ok=ok, samples=counts["samples"]),
        facts=_facts(release, changes, samples),
        mosaic="\n".join(_tile(sample, columns) for sample in samples),
        mosaic_order=_mosaic_order(columns),
        panels="\n".join(_panels(columns, bins)),
        legend=_legend(columns),
        command_address=_text(address(document)),
        sync_hidden=" hidden" if _is_on_the_web(document) else "",
        card=card_html(card),
        software=_text(document.software_version),
        columns_src=f"page/columns.json?{digest[:16]}",
        viewer_src=_text(viewer.src),
        viewer_integrity=_text(viewer.integrity),
        viewer_from=_text(_host(viewer.src)),
    )


def _linked_data(document: ReleaseDocument, *, ok: int, samples: int) -> str:
    """JSON-LD for search engines: in it no text can end the element that it stands in."""
    text = json.dumps(schema_org(document, ok=ok, samples=samples), ensure_ascii=False, indent=1)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return json_text(text)


def _banners(document: ReleaseDocument) -> str:
    """What a reader must not miss: that it is closed, that it is a demonstration."""
    published = document.published
    told = [published.closed.told] if published is not None and published.closed else []
    told += [DEMONSTRATION] if document.demonstration else []
    return "\n".join(f'<p class="banner">{_text(line)}</p>' for line in told)


def address(document: ReleaseDocument) -> str:
    """What the page's commands call the release, for a shell; a word for the folder it lies in.

    The path of a folder on this machine is nobody else's business.
    """
    words = document.published.address if document.published else None
    return shlex.join(map(without_credentials, words)) if words else "RELEASE"


def _is_on_the_web(document: ReleaseDocument) -> bool:
    """Whether its commands have an address that `aws s3` cannot read."""
    words = document.published.address if document.published else None
    return words is not None and not words[0].startswith("s3://")


def _facts(release: Release, changes: str, samples: Sequence[Sample]) -> str:
    document, counts = release.document, release.about["counts"]
    version, date = _version(changes)
    size = counts.get("image_bytes")
    facts = [
        ("Images", f"{counts['ok']:,}"),
        ("Grid", _text(samples[0].grid) if samples else ""),
        ("Size", human_bytes(size) if isinstance(size, int) else ""),
        ("Version", _text(version)),
        ("Date", _text(document.date or date)),
        ("Model", _text(document.model["name"])),
        ("Licence", _licence(document.license)),
        ("DOI", _doi(document)),
        ("Privacy audit", _audit(release)),
    ]
    return "\n".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts if value
    )


def _version(changes: str) -> tuple[str, str]:
    """Version and date of the newest heading of CHANGES, in the form that BIDS asks for."""
    match = re.match(r"(\d[\w.+-]{0,40})(?:[ \t]+-?[ \t]*(\d{4}-\d\d-\d\d))?", changes.lstrip())
    return (match[1], match[2] or "") if match else ("", "")


def _licence(name: str) -> str:
    url = license_url(name) or "LICENSE"
    return f'<a href="{html.escape(url)}" rel="license">{_text(name)}</a>'


def _doi(document: ReleaseDocument) -> str:
    published = document.published
    if published is None or published.doi is None or published.doi_url is None:
        return ""
    return f'<a href="{html.escape(published.doi_url)}">{_text(published.doi)}</a>'


def _audit(release: Release) -> str:
    """The verdict, with the report where it lies here."""
    evaluation = release.document.evaluation
    if evaluation is None:
        return "not audited"
    verdict = evaluation.said.removeprefix("was ")
    if REPORT_KEY not in release.about["files"]:
        return verdict
    return f'<a href="{REPORT_KEY}">{verdict}</a>'


def _tile(sample: Sample, columns: Sequence[PageColumn]) -> str:
    key = participant_id(sample.row["index"])
    height, width = sample.views["axial"].shape
    caption = _caption(sample, columns)
    return (
        f'<li><a href="#sample={key}" data-sample="{key}"><img src="page/pictures/{key}.png"'
        f' width="{width}" height="{height}" loading="lazy" decoding="async"'
        f' alt="Axial slice of {key}"><span>{caption or key[4:]}</span></a></li>'
    )


def _caption(sample: Sample, columns: Sequence[PageColumn]) -> str:
    """Two covariates at most: "F · 61 years"."""
    told = []
    for column in columns:
        value = sample.row.get(column.name)
        if column.role != "asked" or value is None:
            continue
        if column.levels:
            told.append(_text(value)[:40])
        else:
            unit = f" {_text(column.shown_unit)}" if column.shown_unit else ""
            told.append(f"{human_number(float(f'{value:.3g}'))}{unit}")
    return " · ".join(told[:2])


def _mosaic_order(columns: Sequence[PageColumn]) -> str:
    column = mosaic_column(columns)
    return f" in order of {_text(column.label).lower()}" if column else ""


def mosaic_column(columns: Sequence[PageColumn]) -> PageColumn | None:
    """The covariate along which the mosaic is hung: the first that is a number."""
    return next((c for c in columns if c.role == "asked" and not c.levels), None)


def _panels(columns: Sequence[PageColumn], bins: Mapping[str, Bins]) -> list[str]:
    groups = group_column(columns)
    measured = {column.shows: column for column in columns if column.shows}
    panels = []
    for column in columns:
        if column.name in bins and column.shows is None:
            figure = histogram(column, bins[column.name], groups, measured.get(column.name))
            panels.append(_numbers_panel(column, bins[column.name], figure))
        elif len(column.levels) > (0 if column.role == "asked" else 1):
            panels.append(_levels_panel(column, groups))
    return panels


def _numbers_panel(column: PageColumn, bins: Bins, figure: str) -> str:
    low, high = (f"{end:.12g}" for end in (bins.low, bins.high))
    label, name = _text(column.label), _text(column.name)
    ends = f'min="{low}" max="{high}" step="{bins.step / 10:.12g}"'
    trained = ""
    if column.trained:
        span = " to ".join(human_number(end) for end in column.trained)
        trained = f" The model was trained on {span}."
    return f"""\
<fieldset class="panel" data-column="{name}" disabled>
<legend>{label}{_unit(column)}</legend>
<p class="meaning">{_meaning(column)}{trained}</p>
<div class="figure">{figure}
<div class="thumbs">
<input type="range" class="low" {ends} value="{low}" aria-label="{label}, least">
<input type="range" class="high" {ends} value="{high}" aria-label="{label}, greatest">
</div></div>
<div class="ends">
<label>from <input type="number" class="low" step="any" placeholder="{low}"></label>
<label>to <input type="number" class="high" step="any" placeholder="{high}"></label>
</div>
</fieldset>"""


def _levels_panel(column: PageColumn, groups: PageColumn | None) -> str:
    counts = [int((column.values == place).sum()) for place in range(len(column.levels))]
    most = max([1, *counts])
    items = []
    for place, (level, count) in enumerate(zip(column.levels, counts, strict=True)):
        colour = place if column is groups else 0
        width = f"{count / most * 100:.1f}"
        items.append(
            f'<label class="level"><input type="checkbox" value="{place}"><span class="name">'
            f'{_text(level_name(column.name, level))}</span><svg class="bar" viewBox="0 0 100 10"'
            ' preserveAspectRatio="none" aria-hidden="true" focusable="false">'
            f'<rect class="all" width="{width}" height="10"/>'
            f'<rect class="part part{colour}" width="{width}" height="10"/></svg>'
            f'<span class="count">{count:,}</span></label>'
        )
    return f"""\
<fieldset class="panel" data-column="{_text(column.name)}" disabled>
<legend>{_text(column.label)}</legend>
<p class="meaning">{_meaning(column)}</p>
<div class="levels">{"".join(items)}</div>
</fieldset>"""


def level_name(column: str, level: str) -> str:
    """A level as people read it: F (female)."""
    if column == "sex" and level in SEXES:
        return f"{level} ({SEXES[level]})"
    return NAMES.get(column, {}).get(level, level)


def _legend(columns: Sequence[PageColumn]) -> str:
    """Which colour is which group, and what the line is."""
    groups = group_column(columns)
    told = []
    if groups is not None:
        for place, level in enumerate(groups.levels):
            name = _text(level_name(groups.name, level))
            told.append(f'<span class="key part{place}">{name}</span>')
    if any(column.shows for column in columns):
        told.append('<span class="key line">measured on the image</span>')
    return " ".join(told)


def _meaning(column: PageColumn) -> str:
    text = _text(column.description)
    if column.name == "extrapolated":
        text = (
            "whether a covariate, or what the model is told in its place, lies outside "
            "the range that the model was trained on"
        )
    if column.name == "status":
        text = "ok; failed, where no draw passed the quality check; or withdrawn after release"
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _unit(column: PageColumn) -> str:
    return f' <span class="unit">{_text(column.shown_unit)}</span>' if column.shown_unit else ""


def _host(src: str) -> str:
    return src.split("/")[2] if "://" in src else "this page's own files"


def _text(text: object) -> str:
    return html.escape(one_line(text))
