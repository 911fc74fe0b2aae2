"""What must hold of a release, and be chosen for it, before it is published or withdrawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.licenses import check_license
from manifests.ledger import Ledger
from manifests.publish.plan import PublishOptions
from manifests.query.release import Release


class UnchosenLicenseError(ReleaseError):
    """Nobody chose a licence for this release, and there is no silent default."""


def refuse_unfinished(release: Release, verb: str) -> None:
    """Raise where a release is not the whole and finished one that can be changed.

    Raises:
        ReleaseError: it is a downloaded part (exit code 2), or is being made larger (1).
    """
    store, samples = release.store, release.about["counts"]["samples"]
    if source := release.about.get("source"):
        raise ReleaseError(
            f"{store.uri} is a downloaded part of {source['uri']}: {verb} works on a release itself"
        )
    asked = Ledger(store).target()
    if asked is not None and asked > samples:
        raise ReleaseError(
            f"{store.uri} is not finished: {asked:,} samples were asked for, and the release has"
            f" {samples:,}; see `brainpress status`, run its `generate` again, then {verb}",
            exit_code=1,
        )


def settled(document: ReleaseDocument, options: PublishOptions) -> ReleaseDocument:
    """The document with what the publisher chooses.

    Raises:
        UnchosenLicenseError: a public release whose licence nobody chose.
    """
    wanted: dict[str, Any] = {}
    if options.license is not None:
        wanted["license"] = check_license(options.license)
    elif "license" not in document.chosen and not options.private:
        raise UnchosenLicenseError("")
    if options.name is not None:
        wanted["name"] = options.name.strip()
    if options.authors:
        wanted["authors"] = options.authors
    chosen = tuple(sorted({*document.chosen, *wanted}))
    return replace(document, **wanted, chosen=chosen)
