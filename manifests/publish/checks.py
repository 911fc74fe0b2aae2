"""What must hold of a release, and be chosen for it, before it is published or withdrawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.licenses import OWN, check_license
from manifests.ledger import Ledger
from manifests.metadata.terms import license_conflict
from manifests.publish.plan import PublishOptions
from manifests.query.release import Release


class UnchosenLicenseError(ReleaseError):
    """Nobody chose a licence for this release, and there is no silent default."""


class UnchosenAuthorsError(ReleaseError):
    """Nobody said who is to be cited for this release."""


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
        UnchosenLicenseError, UnchosenAuthorsError: a public release whose licence or authors
            nobody chose.
        ReleaseError: no licence that SPDX knows, or one that the model's does not allow.
    """
    wanted: dict[str, Any] = {}
    if options.license is not None:
        wanted["license"] = check_license(options.license)
    elif "license" not in document.chosen and not options.private:
        raise UnchosenLicenseError("")
    elif not options.private:
        wanted["license"] = check_license(document.license)
    if options.name is not None:
        wanted["name"] = options.name.strip()
    if options.authors:
        wanted["authors"] = options.authors
    elif "authors" not in document.chosen and not options.private:
        raise UnchosenAuthorsError("")
    chosen = tuple(sorted({*document.chosen, *wanted}))
    settled = replace(document, **wanted, chosen=chosen)
    settled = replace(settled, license_text=_license_text(settled, options))
    _refuse_conflict(document, settled, options)
    return settled


def _license_text(document: ReleaseDocument, options: PublishOptions) -> str:
    """The text of a licence of one's own; "" of one that stands elsewhere."""
    own = document.license.startswith(OWN)
    if options.license_text is not None and not own:
        raise ReleaseError(
            f"--license-file goes with a licence of one's own, --license {OWN}NAME; the text of"
            f" {document.license} is known"
        )
    text = options.license_text or document.license_text
    if own and not text.strip():
        raise ReleaseError(
            f"{document.license} stands nowhere else: give its text with --license-file"
        )
    return text if own else ""


def _refuse_conflict(
    before: ReleaseDocument, settled: ReleaseDocument, options: PublishOptions
) -> None:
    """Raise where the model's licence does not allow the release's, unless that was told."""
    told = before.published is not None and settled.license == before.license
    if told or options.despite_model_license or (options.private and options.license is None):
        return
    if why := license_conflict(settled.license, settled.model):
        raise ReleaseError(
            f"licence {settled.license}: {why}; choose another, or, where the model's owner has"
            " allowed it, publish with --despite-model-license, which the data card will say"
        )
