"""The versions under which a release was published: numbers, dates, and what changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from manifests.errors import ReleaseError
from manifests.text import is_plain

FIRST_VERSION = "1.0.0"
MOST_VERSIONS, MOST_CHANGES = 10_000, 1000
_DOI = re.compile(r"10\.\d{4,9}/[!-;=?-~]{1,200}")
_NUMBER = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One published version of a release.

    Attributes:
        version: MAJOR.MINOR.PATCH (semantic versioning).
        date: YYYY-MM-DD.
        changes: what is new since the version before, a line each.
        samples, withdrawn: counts of its manifest.
        manifest_sha256: by which it is known whether the release has changed since.
    """

    version: str
    date: str
    changes: tuple[str, ...]
    samples: int
    withdrawn: int = 0
    manifest_sha256: str

    def __post_init__(self) -> None:
        version_key(self.version)
        check_date(self.date)
        if not self.changes or len(self.changes) > MOST_CHANGES:
            raise ReleaseError(f"version {self.version}: {len(self.changes)} lines of changes")
        for line in self.changes:
            if not isinstance(line, str) or not line or not is_plain(line):
                raise ReleaseError(f"version {self.version}: {line!a:.60} is no line of text")
        for name in ("samples", "withdrawn"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ReleaseError(f"version {self.version}: {name} is {value!a:.60}")
        if not re.fullmatch("[0-9a-f]{64}", str(self.manifest_sha256)):
            raise ReleaseError(f"version {self.version}: manifest_sha256 is no SHA-256")

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "date": self.date,
            "changes": list(self.changes),
            "samples": self.samples,
            "withdrawn": self.withdrawn,
            "manifest_sha256": self.manifest_sha256,
        }

    @classmethod
    def from_json(cls, document: Any) -> Version:
        """The inverse of `to_json`. Raises ReleaseError for what it did not write."""
        if not isinstance(document, Mapping) or not isinstance(document.get("changes"), list):
            raise ReleaseError(f"a published version is {document!a:.60}")
        names = ("version", "date", "samples", "withdrawn", "manifest_sha256")
        fields = {name: document.get(name) for name in names}
        return cls(**fields, changes=tuple(document["changes"]))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Closed:
    """That a release is public no more.

    Attributes:
        date: YYYY-MM-DD.
        reason: for readers; "" where none was told.
    """

    date: str
    reason: str = ""

    def __post_init__(self) -> None:
        check_date(self.date)
        if not isinstance(self.reason, str) or not is_plain(self.reason):
            raise ReleaseError(f"published: {self.reason!a:.60} is no line of text")

    @property
    def told(self) -> str:
        """In words."""
        why = f" Why: {self.reason}" if self.reason else ""
        return f"Unpublished on {self.date}: this release is public no more.{why}"

    @classmethod
    def from_json(cls, document: Any) -> Closed | None:
        """None of None. Raises ReleaseError for what is no such mark."""
        if document is None:
            return None
        if not isinstance(document, Mapping):
            raise ReleaseError(f"published: closed is {document!a:.60}")
        return cls(date=check_date(document.get("date")), reason=document.get("reason") or "")


@dataclass(frozen=True, kw_only=True)
class Published:
    """That a release was published, and as what.

    Attributes:
        versions: newest first; at least one.
        url: the public address of its page, where the publisher told one.
        found_at: the address of its page in the bucket that was opened to everybody.
        doi: such as 10.5281/zenodo.1234, where the publisher told one.
        address: what a command is told to find the release, word by word: where it lies, and the
            server, where it is not AWS; None where it was published in a folder.
        viewer: where the page has its viewer from, where the publisher told one.
        closed: that it was unpublished since; None where it was not.
    """

    versions: tuple[Version, ...]
    url: str | None = None
    found_at: str | None = None
    doi: str | None = None
    address: tuple[str, ...] | None = None
    viewer: str | None = None
    closed: Closed | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.versions) <= MOST_VERSIONS:
            raise ReleaseError(f"published: {len(self.versions)} versions")
        keys = [version_key(one.version) for one in self.versions]
        if any(newer <= older for newer, older in pairwise(keys)):
            raise ReleaseError("published: its versions are not in order, newest first")
        for text in (self.url, self.found_at, self.viewer):
            if text is not None and (not isinstance(text, str) or not is_plain(text) or not text):
                raise ReleaseError(f"published: {text!a:.60} is no address")
        if self.doi is not None and check_doi(self.doi) != self.doi:
            raise ReleaseError(f"published: {self.doi!a:.60} is no DOI")

        for word in self.address or ():
            if not isinstance(word, str) or not is_plain(word) or not word:
                raise ReleaseError(f"published: {word!a:.60} is no word of an address")

    @property
    def last(self) -> Version:
        return self.versions[0]

    @property
    def page(self) -> str | None:
        """The public address of its page; None where there is none, or nobody knows it."""
        return self.url or self.found_at

    @property
    def doi_url(self) -> str | None:
        """The address of its DOI."""
        return f"https://doi.org/{quote(self.doi, safe='/:;().,_-')}" if self.doi else None

    def address_of(self, key: str) -> str | None:
        """The public address of one of its files; None where that of its page is not known."""
        if self.page is None:
            return None
        folder, _, last = self.page.partition("?")[0].rpartition("/")
        is_page = last.endswith((".html", ".htm")) or not last
        return f"{folder if is_page else f'{folder}/{last}'}/{quote(key)}"

    def to_json(self) -> dict[str, Any]:
        """With the last version's number and date where a reader looks first."""
        return {
            "version": self.last.version,
            "date": self.last.date,
            "url": self.url,
            **({"found_at": self.found_at} if self.found_at else {}),
            **({"doi": self.doi} if self.doi else {}),
            **({"address": list(self.address)} if self.address else {}),
            "viewer": self.viewer,
            **({"closed": dict(vars(self.closed))} if self.closed else {}),
            "versions": [version.to_json() for version in self.versions],
        }

    @classmethod
    def from_json(cls, document: Any) -> Published | None:
        """The inverse of `to_json`; None of None. Raises ReleaseError likewise."""
        if document is None:
            return None
        if not isinstance(document, Mapping) or not isinstance(document.get("versions"), list):
            raise ReleaseError(f"published is {document!a:.60}")
        return cls(
            versions=tuple(map(Version.from_json, document["versions"])),
            url=document.get("url"),
            found_at=document.get("found_at"),
            doi=document.get("doi"),
            address=_words(document.get("address")),
            viewer=document.get("viewer"),
            closed=Closed.from_json(document.get("closed")),
        )


def _words(document: Any) -> tuple[str, ...] | None:
    if document is not None and not isinstance(document, list):
        raise ReleaseError(f"published: address is {document!a:.60}, expected words")
    return tuple(document) if document else None


def version_key(text: object) -> tuple[int, int, int]:
    """By which versions are ordered.

    >>> version_key("1.10.0") > version_key("1.9.3")
    True

    Raises:
        ReleaseError: not MAJOR.MINOR.PATCH.
    """
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ReleaseError(f"version {text!a:.60}: expected MAJOR.MINOR.PATCH, such as 1.0.0")
    return int(found[1]), int(found[2]), int(found[3])


def check_doi(text: object) -> str:
    """The DOI that `text` names, without the address or the word before it.

    >>> check_doi("https://doi.org/10.5281/zenodo.1234")
    '10.5281/zenodo.1234'

    Raises:
        ReleaseError: it is none.
    """
    bare = re.sub(r"(?i)^(https?://(dx\.)?doi\.org/|doi:)", "", str(text).strip())
    if not isinstance(text, str) or not _DOI.fullmatch(bare):
        raise ReleaseError(f"DOI {text!a:.80}: expected such as 10.5281/zenodo.1234")
    return bare


def check_date(text: object) -> str:
    """`text`, if it is a day of the calendar.

    Raises:
        ReleaseError: it is not.
    """
    try:
        if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError
        date.fromisoformat(text)
    except ValueError:
        raise ReleaseError(f"date {text!a:.60}: expected YYYY-MM-DD, a day") from None
    return text


def changed_since(about: Mapping[str, Any], published: Published | None) -> str | None:
    """What has become of a release since it was published last, in words; None where nothing.

    Args:
        about: the content of release.json, whose `files` name the manifest.
    """
    if about.get("opened_version"):  # as `versions.open_version` reads it
        return None
    counts = about["counts"]
    manifest = (about.get("source") or {}).get("manifest_sha256")
    manifest = manifest or about["files"]["manifest.parquet"]
    if published is None or manifest == published.last.manifest_sha256:
        return None
    last, words = published.last, []
    if not about.get("source"):
        if (grown := counts["samples"] - last.samples) > 0:
            words.append(f"grown by {_counted(grown)}")
        if (withdrawn := counts.get("withdrawn", 0) - last.withdrawn) > 0:
            words.append(f"had {_counted(withdrawn)} withdrawn")
    return f"{' and '.join(words) or 'changed'} since version {last.version} was published"


def _counted(samples: int) -> str:
    return f"{samples:,} sample{'' if samples == 1 else 's'}"
