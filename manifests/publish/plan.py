"""What publishing a release would make of it: which version, and what is new in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.evaluation import Evaluation
from manifests.format.published import (
    FIRST_VERSION,
    Published,
    check_date,
    check_doi,
    version_key,
)
from manifests.format.segmentation.about import Segmentation
from manifests.metadata.people import check_author
from manifests.numbers import ranges
from manifests.storage.base import Store
from manifests.text import is_plain, one_line

MOST_TOLD = 20  # withdrawn samples, one by one


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """What the publisher wants; None leaves it as it is.

    Attributes:
        license: an SPDX identifier, or a `LicenseRef-` of one's own.
        license_text: of a licence of one's own.
        despite_model_license: whether it may be one that the model's does not allow.
        name, authors: of the dataset; authors as `manifests.metadata.people` reads them.
        version: MAJOR.MINOR.PATCH; None takes the next.
        date: of the version, YYYY-MM-DD.
        changes: what is new, for CHANGES, a line each.
        url: the public address of the release's page.
        found_at: the address of its page in the bucket that is opened to everybody.
        doi: by which it is cited, in any of its forms.
        private: leave the bucket's policy alone.
        viewer: as of `manifests.page.page_files`.
        evaluation: the folder of an evaluation that it is to carry.
        despite_failed_audit: whether that may be one whose privacy audit failed or was
            inconclusive.
    """

    date: str
    license: str | None = None
    license_text: str | None = None
    despite_model_license: bool = False
    name: str | None = None
    authors: tuple[str, ...] = ()
    version: str | None = None
    changes: str | None = None
    url: str | None = None
    found_at: str | None = None
    doi: str | None = None
    private: bool = False
    viewer: str | None = None
    evaluation: Path | None = None
    despite_failed_audit: bool = False

    def __post_init__(self) -> None:
        check_date(self.date)
        if self.version is not None:
            version_key(self.version)
        for option, text in (("--name", self.name), ("--url", self.url)):
            if text is not None and (not text.strip() or not is_plain(text)):
                raise ReleaseError(f"{option} {text!a:.60}: expected a line of text")
        for author in self.authors:
            check_author(author)
        if self.doi is not None:
            check_doi(self.doi)
        if self.despite_failed_audit and self.evaluation is None:
            raise ReleaseError("--despite-failed-audit goes with --evaluation")
        if self.url is not None and not self.url.startswith(("https://", "http://")):
            raise ReleaseError(f"--url {self.url!a:.60}: expected an address, https://...")
        if self.url is not None and "@" in self.url.split("/")[2]:
            raise ReleaseError("--url has a user name or a password in it, for everyone to read")


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How a release differs from the version that was published last.

    Attributes:
        samples, before: now and then.
        withdrawn: since then, by index, and why.
        terms: what else is new: licence, authors, name, evaluation, label maps; in words.
        relicensed: whether the licence is.
    """

    samples: int
    before: int
    withdrawn: Mapping[int, str]
    terms: Sequence[str] = ()
    relicensed: bool = False

    @property
    def none(self) -> bool:
        return self.samples == self.before and not self.withdrawn and not self.terms

    def told(self) -> list[str]:
        """In words, a line each."""
        lines = []
        if added := self.samples - self.before:
            span = ranges(range(self.before, self.samples))
            lines.append(f"{added:,} samples added ({span}), {self.samples:,} in all")
        named = sorted(self.withdrawn.items())
        lines += [one_line(f"sample {index} withdrawn: {why}") for index, why in named[:MOST_TOLD]]
        if left := named[MOST_TOLD:]:
            numbers = ranges(index for index, _ in left)
            lines.append(f"withdrawn too, the manifest says why: {numbers}")
        return [*lines, *self.terms]


def differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    buried_before: Mapping[int, str],
    buried: Mapping[int, str],
) -> Differences:
    """What is new since a version.

    Args:
        before, now: the content of the version's release.json, and what the release is to say.
        buried_before, buried: the tombstones of both manifests.
    """
    words = {"license": "licence", "authors": "authors", "name": "name"}
    terms = []
    for field, word in words.items():
        if before[field] != now[field]:
            then, new = (_shown(document[field]) for document in (before, now))
            terms.append(one_line(f"{word}: {new}, was {then}"))
    evaluation = now.get("evaluation")
    if evaluation is not None and evaluation != before.get("evaluation"):
        told = Evaluation.from_json(evaluation)
        terms.append(f"new evaluation, {told.told}" if told else "")
    maps = now.get("segmentation")
    if maps is not None and maps != before.get("segmentation"):
        drawn = Segmentation.from_json(maps)
        terms.append(f"new {drawn.told}" if drawn else "")
    return Differences(
        samples=now["counts"]["samples"],
        before=before["counts"]["samples"],
        withdrawn={i: why for i, why in buried.items() if i not in buried_before},
        terms=terms,
        relicensed=before["license"] != now["license"],
    )


def next_version(
    published: Published | None, new: Differences | None, asked: str | None, *, uri: str
) -> str | None:
    """The number of the version to publish; None where the last one still says all.

    A release that has grown, or has another licence, gets the next minor version; one of which
    samples were withdrawn, or that has other authors, name, evaluation or label maps, the next
    patch.

    Args:
        new: since the last version; None where there is none.
        asked: by the publisher.

    Raises:
        ReleaseError: a version that is no later than the last, and not the last.
    """
    if published is None or new is None:
        return asked or FIRST_VERSION
    last = published.last.version
    major, minor, patch = version_key(last)
    grown = new.samples > new.before or new.relicensed
    usual = f"{major}.{minor + 1}.0" if grown else f"{major}.{minor}.{patch + 1}"
    if asked is None:
        return None if new.none else usual
    if version_key(asked) > version_key(last):
        return asked
    if asked == last and new.none:
        return None
    if asked == last:
        raise ReleaseError(
            f"{uri}: version {last} is published, and what is new ({new.told()[0]}) needs another"
            f" one; leave out --release-version for {usual}"
        )
    raise ReleaseError(
        f"{uri}: version {asked} is lower than {last}, which is published; expected a later one,"
        f" such as {usual}"
    )


def change_lines(
    new: Differences | None, changes: str | None, *, ok: int, seed: int
) -> tuple[str, ...]:
    """The lines of CHANGES about a version: the publisher's own first."""
    own = [one_line(line) for line in (changes or "").splitlines() if line.strip()]
    if new is None:
        return (*own, f"{ok} synthetic volumes, seed {seed}")
    return (*own, *(new.told() or ([] if own else ["no change of the data"])))


def address_for_readers(place: Store, url: str | None) -> tuple[str, ...] | None:
    """What readers tell a command to find a release, word by word; None of a folder.

    A server that is not AWS may have another name outside than its owner calls it by: the address
    of the release's page, where they told it, is better.

    Args:
        place: where it lies.
        url: the public address of its page.
    """
    folder, _, page = (url or "").rpartition("/")
    on_the_web = (folder,) if folder and page in ("", "index.html") else None
    if place.is_local:
        return on_the_web
    at_aws = len(place.words) == 1
    return place.words if at_aws else on_the_web or place.words


def _shown(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)
