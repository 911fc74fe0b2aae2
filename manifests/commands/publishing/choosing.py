"""What `publish` has to be told of a release: its licence and whom to cite. A person is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import ReleaseError
from manifests.text import one_line, printable

if TYPE_CHECKING:
    from manifests.publish.plan import PublishOptions
    from manifests.query.release import Release

MOST_LICENSE_BYTES = 2**20


def with_license(release: Release, options: PublishOptions) -> PublishOptions:
    """The options with a licence that somebody chose: a person at a terminal is asked.

    Raises:
        ReleaseError: nobody is there to be asked.
    """
    from dataclasses import replace

    from manifests.format.licenses import LICENSE_URLS, check_license, license_of_model
    from manifests.metadata.terms import license_conflict
    from manifests.publish.checks import UnchosenAuthorsError, UnchosenLicenseError, settled

    try:
        settled(release.document, options)
        return options
    except UnchosenAuthorsError:
        return options
    except UnchosenLicenseError:
        pass
    model = release.document.model
    choices = [name for name in LICENSE_URLS if license_conflict(name, model) is None]
    choices = choices or list(LICENSE_URLS)
    of_model = license_of_model(release.document.model)[1]
    card = f" (its model's card names {one_line(of_model)})" if of_model else ""
    if not sys.stdin.isatty():
        raise ReleaseError(
            f"{release.store.uri}: nobody chose a licence for this release{card}; choose one with"
            f" --license: {', '.join(choices)}, or any other of https://spdx.org/licenses"
        )
    print(f"Under which licence is this release published?{card}", file=sys.stderr)
    for number, name in enumerate(choices, start=1):
        print(f"  {number}  {name:<15} {LICENSE_URLS[name]}", file=sys.stderr)
    print("number or name: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if answer.isdecimal() and 1 <= int(answer) <= len(choices):
        answer = choices[int(answer) - 1]
    return replace(options, license=check_license(answer))


def with_authors(release: Release, options: PublishOptions) -> PublishOptions:
    """The options with authors that somebody named: a person at a terminal is asked.

    Raises:
        ReleaseError: nobody is there to be asked; a licence that the model's does not allow.
    """
    from dataclasses import replace

    from manifests.metadata.people import GRAMMAR
    from manifests.publish.checks import UnchosenAuthorsError, settled

    try:
        settled(release.document, options)
        return options
    except UnchosenAuthorsError:
        pass
    if not sys.stdin.isatty():
        raise ReleaseError(
            f"{release.store.uri}: nobody said whom to cite for this release; name people or a"
            f' group with --author, such as --author "The Example Lab"; {GRAMMAR}'
        )
    print(f"Whom are readers to cite for it? {GRAMMAR}; apart by ;", file=sys.stderr)
    print("authors: ", end="", file=sys.stderr, flush=True)
    answer = [name.strip() for name in sys.stdin.readline().split(";")]
    named = tuple(name for name in answer if name)
    if not named:
        raise ReleaseError(f"{release.store.uri}: nobody was named; nothing was written")
    chosen = replace(options, authors=named)
    settled(release.document, chosen)
    return chosen


def text_of(file: Path | None) -> str | None:
    """The text in the file of `--license-file`. Raises ReleaseError where it cannot be read."""
    if file is None:
        return None
    try:
        if file.stat().st_size > MOST_LICENSE_BYTES:
            raise ReleaseError(
                f"--license-file {file}: expected at most {MOST_LICENSE_BYTES} bytes"
            )
        return printable(file.read_text("utf-8"))
    except OSError as error:
        raise ReleaseError(f"--license-file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReleaseError(f"--license-file {file}: expected text in UTF-8") from None
