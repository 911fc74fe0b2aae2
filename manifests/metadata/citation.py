"""How a release is cited and catalogued: CITATION.cff, Zenodo, DataCite, schema.org."""

from __future__ import annotations

import html
from typing import Any

from manifests.format.document import DEMONSTRATION, NO_TEMPLATE, ReleaseDocument
from manifests.format.json_text import json_bytes
from manifests.format.layout import (
    CROISSANT_KEY,
    DATACITE_KEY,
    MANIFEST_KEY,
    ZENODO_KEY,
    weighted,
)
from manifests.format.licenses import OWN, license_url
from manifests.metadata.people import Author, author_of, names_of
from manifests.metadata.quality import privacy_told
from manifests.text import one_line, quoted

UNKNOWN = ":unav"  # DataCite's word for what is not known


def citation_cff(document: ReleaseDocument, *, changed: bool) -> bytes:
    """CITATION.cff 1.2.0; of a release that has changed since it was published, no version."""
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this dataset, please cite it as below.",
        "type: dataset",
        f"title: {quoted(document.name)}",
        "authors:",
        *(line for text in document.authors for line in _cff_author(author_of(text))),
    ]
    if license_url(document.license):  # one that SPDX lists
        lines.append(f"license: {document.license}")
    published = document.published
    if published and not changed:
        lines.append(f"version: {quoted(published.last.version)}")
    if published and published.doi:
        lines.append(f"doi: {quoted(published.doi)}")
    if published and published.page:
        lines.append(f"url: {quoted(published.page)}")
    if document.date:
        lines.append(f"date-released: {quoted(document.date)}")
    return ("\n".join(lines) + "\n").encode()


def catalogue_files(
    document: ReleaseDocument, *, ok: int, samples: int, changed: bool
) -> dict[str, bytes]:
    """What a published release is catalogued by: .zenodo.json and datacite.json; else none.

    `samples` is how many the `ok` images are made of. Of a release that has changed since it was
    published they tell no version.
    """
    if document.published is None:
        return {}
    about = description(document, ok=ok, samples=samples)
    version = {} if changed else {"version": document.published.last.version}
    return {
        ZENODO_KEY: json_bytes({**_zenodo(document, about), **version}),
        DATACITE_KEY: json_bytes({**_datacite(document, about), **version}),
    }


def schema_org(document: ReleaseDocument, *, ok: int, samples: int) -> dict[str, Any]:
    """The release as search engines for data read it on its page (https://schema.org/Dataset)."""
    about: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": one_line(document.name),
        "description": description(document, ok=ok, samples=samples),
        "license": license_url(document.license) or one_line(document.license),
        "isAccessibleForFree": True,
        "creator": creators(document),
        "keywords": keywords(document),
        "measurementTechnique": "magnetic resonance imaging (synthetic)",
        "variableMeasured": [
            {
                "@type": "PropertyValue",
                "name": column.name,
                **({"description": one_line(column.description)} if column.description else {}),
                **({"unitText": one_line(column.unit)} if column.unit else {}),
            }
            for column in document.columns
        ],
    }
    published = document.published
    if document.date:
        about["datePublished"] = document.date
    if published is None:
        return about
    about["version"] = published.last.version
    if published.doi_url:
        about |= {"@id": published.doi_url, "identifier": published.doi_url}
    if published.page:
        about["url"] = published.page
        formats = {MANIFEST_KEY: "application/x-parquet", CROISSANT_KEY: "application/ld+json"}
        about["distribution"] = [
            {
                "@type": "DataDownload",
                "name": key,
                "encodingFormat": kind,
                "contentUrl": published.address_of(key),
            }
            for key, kind in formats.items()
        ]
    return about


def description(document: ReleaseDocument, *, ok: int, samples: int) -> str:
    """What the release is, in some sentences."""
    made = (
        f"{ok:,} synthetic {weighted(document.suffixes)} brain images (NIfTI, BIDS), drawn"
        f" from the generative model {document.model['name']}."
        f" {privacy_told(document.evaluation, samples=samples)}"
    )
    made += f" {NO_TEMPLATE}" if document.space else ""
    return one_line(f"{DEMONSTRATION} {made}" if document.demonstration else made)


def creators(document: ReleaseDocument) -> list[dict[str, Any]]:
    """The authors as schema.org has them."""
    return [_schema_author(author_of(text)) for text in document.authors]


def keywords(document: ReleaseDocument) -> list[str]:
    return ["synthetic", "MRI", "brain", *document.suffixes]


def cited(document: ReleaseDocument) -> str:
    """The release as a line in a list of references."""
    line = f"{names_of(document.authors)}. {one_line(document.name)}."
    published = document.published
    return f"{line} {published.doi_url}" if published and published.doi_url else line


def _schema_author(author: Author) -> dict[str, Any]:
    identified = {"@id": author.url, "identifier": author.url} if author.url else {}
    if author.organisation:
        return {"@type": "Organization", "name": author.organisation, **identified}
    about = {"@type": "Person", "name": author.name, "givenName": author.given}
    about |= {"familyName": author.family, **identified}
    if author.affiliation:
        return {**about, "affiliation": {"@type": "Organization", "name": author.affiliation}}
    return about


def _cff_author(author: Author) -> list[str]:
    if author.organisation:
        fields = {"name": author.organisation, "website": author.url}
    else:
        fields = {
            "family-names": author.family,
            "given-names": author.given,
            "affiliation": author.affiliation,
            "orcid": author.url,
        }
    lines = [f"{name}: {quoted(text)}" for name, text in fields.items() if text]
    return [f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]


def _zenodo(document: ReleaseDocument, about: str) -> dict[str, Any]:
    """https://developers.zenodo.org/#representation, as a deposit takes it from .zenodo.json."""
    assert document.published is not None
    authors = map(author_of, document.authors)
    named = [
        {"name": a.index_name, "affiliation": a.affiliation, "orcid": a.orcid} for a in authors
    ]
    found: dict[str, Any] = {
        "upload_type": "dataset",
        "title": one_line(document.name),
        "description": f"<p>{html.escape(about, quote=False)}</p>",
        "creators": [{name: text for name, text in one.items() if text} for one in named],
        "access_right": "open",
        "keywords": keywords(document),
        "publication_date": document.published.last.date,
        "language": "eng",
    }
    if not document.license.startswith(OWN):
        found["license"] = document.license.lower()
    if document.published.doi:
        found["doi"] = document.published.doi
    if document.published.page:
        address = {"identifier": document.published.page, "relation": "isIdenticalTo"}
        found["related_identifiers"] = [address]
    return found


def _datacite(document: ReleaseDocument, about: str) -> dict[str, Any]:
    """The DataCite Metadata Schema 4.5, by which a DOI is registered."""
    published = document.published
    assert published is not None
    authors = [author_of(text) for text in document.authors]
    organisations = [author.organisation for author in authors if author.organisation]
    rights: dict[str, Any] = {"rights": one_line(document.license)}
    if url := license_url(document.license):
        rights |= {
            "rightsUri": url,
            "rightsIdentifier": document.license,
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": "https://spdx.org/licenses/",
        }
    return {
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        **({"doi": published.doi} if published.doi else {}),
        **({"url": published.page} if published.page else {}),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Synthetic brain MRI"},
        "creators": [_datacite_author(author) for author in authors],
        "titles": [{"title": one_line(document.name)}],
        "publisher": {"name": organisations[0] if organisations else UNKNOWN},
        "publicationYear": published.last.date[:4],
        "dates": [{"date": published.last.date, "dateType": "Issued"}],
        "language": "en",
        "formats": ["application/gzip", "application/x-parquet"],
        "subjects": [{"subject": word} for word in keywords(document)],
        "rightsList": [rights],
        "descriptions": [{"description": about, "descriptionType": "Abstract"}],
    }


def _datacite_author(author: Author) -> dict[str, Any]:
    found: dict[str, Any] = {"name": author.index_name, "nameType": "Organizational"}
    if not author.organisation:
        found |= {"nameType": "Personal"}
        found |= {"givenName": author.given, "familyName": author.family}
    if author.affiliation:
        found["affiliation"] = [{"name": author.affiliation}]
    if author.url:
        scheme, home = (
            ("ORCID", "https://orcid.org") if author.orcid else ("ROR", "https://ror.org")
        )
        found["nameIdentifiers"] = [
            {"nameIdentifier": author.url, "nameIdentifierScheme": scheme, "schemeUri": home}
        ]
    return found
