"""What stands at the top of a page: who made the release, what it is, how to take and cite it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from manifests.format.document import DEMONSTRATION, ReleaseDocument
from manifests.format.evaluation import REPORT_KEY
from manifests.format.layout import participant_id
from manifests.format.licenses import license_url
from manifests.metadata.citation import cited
from manifests.metadata.people import Author, author_of
from manifests.numbers import human_bytes
from manifests.page.bibtex import bibtex
from manifests.page.pictures import Sample
from manifests.pictures.planes import PLANES, Plane
from manifests.query.release import Release
from manifests.text import one_line

MOST_AUTHORS = 12  # by name


def authors_html(document: ReleaseDocument) -> str:
    """The authors, each with the address of their ORCID or ROR where they have one."""
    authors = [_author(author_of(text)) for text in document.authors[:MOST_AUTHORS]]
    left = len(document.authors) - len(authors)
    return ", ".join([*authors, *([f"{left:,} more"] if left else [])])


def actions_html(release: Release) -> str:
    """Download, Cite and, where there is one, the report of the evaluation."""
    size = release.about["counts"].get("image_bytes")
    told = f" <small>{human_bytes(size)}</small>" if isinstance(size, int) and size else ""
    actions = [
        f'<a class="button primary" href="#download">Download{told}</a>',
        '<button type="button" popovertarget="cite">Cite</button>',
    ]
    if _has_report(release):
        actions.append(f'<a class="button" href="{REPORT_KEY}">Evaluation report</a>')
    return "\n".join(actions)


def citation_html(document: ReleaseDocument, changes: str) -> tuple[str, str]:
    """The release as a line in a list of references, and as BibTeX."""
    version, date = version_of(changes)
    entry = bibtex(document, version=version, date=document.date or date)
    return _text(cited(document)), html.escape(entry)


def banners_html(document: ReleaseDocument) -> str:
    """What a reader must not miss: that it is closed, that it is a demonstration."""
    published = document.published
    told = [published.closed.told] if published is not None and published.closed else []
    told += [DEMONSTRATION] if document.demonstration else []
    return "\n".join(f'<p class="banner">{_text(line)}</p>' for line in told)


def hero_html(sample: Sample | None, caption: str) -> str:
    """Three planes of one image, which open it in the viewer; nothing of a release without one."""
    if sample is None:
        return ""
    key = participant_id(sample.row["index"])
    pictures = [_plane(sample, plane) for plane in ("axial", "sagittal", "coronal")]
    return (
        f'<figure class="hero"><a href="#sample={key}" data-sample="{key}">{"".join(pictures)}</a>'
        f"<figcaption>{key}{f': {caption}' if caption else ''}</figcaption></figure>"
    )


def picture_key(sample: Sample, plane: Plane = "axial") -> str:
    """Where a picture of a sample lies."""
    of = "" if plane == "axial" else f"-{plane}"
    return f"page/pictures/{participant_id(sample.row['index'])}{of}.png"


def hero_of(samples: Sequence[Sample]) -> Sample | None:
    """The image at the top of the page: the middle one, as they hang."""
    return samples[len(samples) // 2] if samples else None


def facts_html(release: Release, changes: str, samples: Sequence[Sample]) -> str:
    document, counts = release.document, release.about["counts"]
    version, date = version_of(changes)
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


def version_of(changes: str) -> tuple[str, str]:
    """Version and date of the newest heading of CHANGES, in the form that BIDS asks for."""
    match = re.match(r"(\d[\w.+-]{0,40})(?:[ \t]+-?[ \t]*(\d{4}-\d\d-\d\d))?", changes.lstrip())
    return (match[1], match[2] or "") if match else ("", "")


def _plane(sample: Sample, plane: Plane) -> str:
    assert plane in PLANES
    height, width = sample.views[plane].shape
    key = participant_id(sample.row["index"])
    return (
        f'<img class="{plane}" src="{picture_key(sample, plane)}" width="{width}" '
        f'height="{height}" alt="{plane.capitalize()} slice of {key}">'
    )


def _author(author: Author) -> str:
    name = _text(author.name)
    return f'<a href="{html.escape(author.url)}">{name}</a>' if author.url else name


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
    return f'<a href="{REPORT_KEY}">{verdict}</a>' if _has_report(release) else verdict


def _has_report(release: Release) -> bool:
    return REPORT_KEY in release.about["files"]


def _text(text: object) -> str:
    return html.escape(one_line(text))
