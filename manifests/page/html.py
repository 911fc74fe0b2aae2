"""index.html of a release: its template filled with escaped text."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

from manifests.format.document import ReleaseDocument
from manifests.format.layout import participant_id, weighted
from manifests.metadata.citation import schema_org
from manifests.metadata.quality import privacy_told
from manifests.numbers import human_number
from manifests.page.card import card_html
from manifests.page.columns import PageColumn
from manifests.page.figures import Bins
from manifests.page.head import (
    actions_html,
    authors_html,
    banners_html,
    citation_html,
    facts_html,
    hero_html,
    hero_of,
    picture_key,
)
from manifests.page.niivue import Viewer
from manifests.page.panels import legend_html, panels_html
from manifests.page.pictures import MOSAIC, Sample, evenly
from manifests.query.release import Release
from manifests.text import json_text, one_line, without_credentials

POLICY = (
    "default-src 'none'; script-src 'self' {viewer}; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
)
RELEASE = "RELEASE"  # what a command calls the folder that a page lies in
ENDPOINT = "--endpoint-url"
LOSS = """\
    loss = torch.nn.functional.mse_loss(network(images)[:, 0], rows["{target}"].float())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()"""


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
    hero = hero_of(samples)
    reference, entry = citation_html(document, changes)
    return template.substitute(
        policy=html.escape(" ".join(POLICY.format(viewer=viewer.allowed).split())),
        title=_text(document.name).replace("T1-", "T1\u2011"),
        authors=authors_html(document),
        lede=f"{ok:,} synthetic {weighted(there or document.suffixes)} brain {images}, "
        "drawn from a generative model. "
        + privacy_told(document.evaluation, samples=counts["samples"], one=ok == 1),
        actions=actions_html(release),
        reference=reference,
        bibtex=entry,
        banner=banners_html(document),
        hero=hero_html(hero, _caption(hero, columns) if hero else ""),
        linked_data=_linked_data(document, ok=ok, samples=counts["samples"]),
        facts=facts_html(release, changes, samples),
        mosaic="\n".join(_tile(sample, columns) for sample in evenly(samples, MOSAIC)),
        mosaic_order=_mosaic_order(columns),
        panels=panels_html(columns, bins),
        legend=legend_html(columns),
        command_address=_text(address(document)),
        python_address=html.escape(python_address(document), quote=False),
        python_columns=_python_columns(columns),
        python_loss=_python_loss(columns),
        python_labels=_python_labels(release),
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


def address(document: ReleaseDocument) -> str:
    """What the page's commands call the release, for a shell; a word for the folder it lies in.

    The path of a folder on this machine is nobody else's business.
    """
    return shlex.join(_words(document))


def python_address(document: ReleaseDocument) -> str:
    """The same as the first arguments of `Volumes`."""
    place, *more = _words(document)
    endpoint = more[more.index(ENDPOINT) + 1] if ENDPOINT in more[:-1] else None
    told = json_text(json.dumps(place))
    return told + (f", endpoint_url={json_text(json.dumps(endpoint))}" if endpoint else "")


def _words(document: ReleaseDocument) -> list[str]:
    words = document.published.address if document.published else None
    return [without_credentials(word) for word in words] if words else [RELEASE]


def _is_on_the_web(document: ReleaseDocument) -> bool:
    """Whether its commands have an address that `aws s3` cannot read."""
    words = document.published.address if document.published else None
    return words is not None and not words[0].startswith("s3://")


def _python_columns(columns: Sequence[PageColumn]) -> str:
    """Of the covariates; names are of letters, digits and underscores."""
    names = json.dumps([column.name for column in columns if column.role == "asked"])
    return html.escape(names, quote=False)


def _python_loss(columns: Sequence[PageColumn]) -> str:
    """The body of a training loop: a regression of the first number, where there is one."""
    target = mosaic_column(columns)
    return LOSS.format(target=target.name) if target else "    features = network(images)"


def _python_labels(release: Release) -> str:
    """How to get the label maps too, where there are some."""
    return "  # label=True gives the label map too" if release.is_segmented else ""


def _tile(sample: Sample, columns: Sequence[PageColumn]) -> str:
    key = participant_id(sample.row["index"])
    height, width = sample.views["axial"].shape
    caption = _caption(sample, columns)
    return (
        f'<li><a href="#sample={key}" data-sample="{key}"><img src="{picture_key(sample)}"'
        f' width="{width}" height="{height}" loading="lazy" decoding="async"'
        f' alt="Axial slice of {key}"><span>{caption or key[4:]}</span></a></li>'
    )


def _caption(sample: Sample, columns: Sequence[PageColumn]) -> str:
    """Two covariates at most: "F · 61 years". rows.js says the same."""
    told = []
    for column in columns:
        value = sample.row.get(column.name)
        if column.role != "asked" or value is None:
            continue
        if column.levels:
            told.append(_text(value)[:40])
        else:
            unit = f" {_text(column.shown_unit)}" if column.shown_unit else ""
            told.append(f"{human_number(float(f'{value / column.per:.2g}'))}{unit}")
    return " · ".join(told[:2])


def _mosaic_order(columns: Sequence[PageColumn]) -> str:
    column = mosaic_column(columns)
    return f" in order of {_text(column.label).lower()}" if column else ""


def mosaic_column(columns: Sequence[PageColumn]) -> PageColumn | None:
    """The covariate along which the mosaic is hung: the first that is a number."""
    return next((c for c in columns if c.role == "asked" and not c.levels), None)


def _host(src: str) -> str:
    return src.split("/")[2] if "://" in src else "this page's own files"


def _text(text: object) -> str:
    return html.escape(one_line(text))
