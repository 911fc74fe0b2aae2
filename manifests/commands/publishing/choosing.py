"""What `publish` has to be told of a release: its licence and whom to cite. A person is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
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

    def chosen(answer: str) -> PublishOptions:
        known = answer.isdecimal() and 1 <= int(answer) <= len(choices)
        name = choices[int(answer) - 1] if known else answer
        found = replace(options, license=check_license(name))
        somebody = found.authors or release.document.authors  # who is asked for next
        settled(release.document, replace(found, authors=somebody))
        return found

    print(f"Under which licence is this release published?{card}", file=sys.stderr)
    for number, name in enumerate(choices, start=1):
        print(f"  {number}  {name:<15} {LICENSE_URLS[name]}", file=sys.stderr)
    return _until_good(f"number (1 to {len(choices)}) or name: ", chosen)


def _until_good(question: str, chosen: Callable[[str], PublishOptions]) -> PublishOptions:
    """What the person at the terminal chooses, who is asked again after what cannot be.

    Args:
        chosen: the options with an answer. Raises ReleaseError where it cannot be.

    Raises:
        ReleaseError: they gave no answer (Ctrl-D).
    """
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise ReleaseError("no answer; nothing was written")
        try:
            return chosen(line.strip())
        except ReleaseError as error:
            print(one_line(f"{error}; once more (Ctrl-C leaves)"), file=sys.stderr)


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

    def chosen(answer: str) -> PublishOptions:
        named = tuple(name.strip() for name in answer.split(";") if name.strip())
        if not named:
            raise ReleaseError("nobody was named")
        found = replace(options, authors=named)
        settled(release.document, found)
        return found

    return _until_good("authors: ", chosen)


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
