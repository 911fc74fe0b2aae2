"""Which samples a steward means: by their names, a file of names, or a filter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from manifests.changes.seen import decided_change
from manifests.errors import ReleaseError
from manifests.format.layout import index_of, participant_id
from manifests.format.schema import WITHDRAWN
from manifests.numbers import ranges
from manifests.query.release import Release
from manifests.text import one_line

LONGEST_REASON = 500
MOST_BYTES = 2**26  # of a file of names


def check_reason(text: str) -> str:
    """The reason, on one line. Raises ReleaseError where there is none."""
    reason = one_line(text)
    if not reason:
        raise ReleaseError("--reason is empty: say for readers why the samples are withdrawn")
    if len(reason) > LONGEST_REASON:
        raise ReleaseError(f"--reason has {len(reason)} characters: expected at most 500")
    return reason


def indices_of(release: Release, samples: Sequence[str]) -> list[int]:
    """The indices of samples, in order.

    Raises:
        ReleaseError: one that the release does not have, or that is not written as its
            participant_id: nobody should lose an image by a slip of the hand.
    """
    count, indices = release.about["counts"]["samples"], set()
    for text in samples:
        index = index_of(text.strip())
        index = -1 if index is None else index
        if not 0 <= index < count or text != participant_id(index):
            meant = f"; did you mean {participant_id(index)}?" if 0 <= index < count else ""
            raise ReleaseError(
                f"{release.store.uri} has no sample {text!a:.60}; expected one of"
                f" {participant_id(0)} to {participant_id(count - 1)}{meant}"
            )
        indices.add(index)
    return sorted(indices)


def told(indices: Sequence[int]) -> str:
    """Samples for people: `sample 3`, `samples 3-5, 9`."""
    return f"sample{'s' if len(indices) != 1 else ''} {ranges(indices)}"


def chosen_samples(
    release: Release, names: Sequence[str], *, file: Path | None, where: str | None
) -> list[str]:
    """The participant_ids of all samples that are meant, in order.

    Args:
        names: as given one by one.
        file: see `names_in`.
        where: a filter; samples that were withdrawn before are not meant by it.

    Raises:
        ReleaseError: none is meant; a file or a filter that cannot be understood.
    """
    found = {*names, *(names_in(file) if file is not None else ())}
    begun = decided_change(release.place)
    if begun is not None:  # a withdrawal, perhaps, of whose samples a filter finds no more
        found.update(map(participant_id, begun.reasons))
    if where is not None:
        rows = release.query(where, columns=["participant_id", "status"])
        rows = rows.filter(pc.not_equal(rows["status"], WITHDRAWN))
        if not rows.num_rows and not found:
            raise ReleaseError(f"no sample of {release.store.uri} matches {where!a:.200}")
        found.update(rows["participant_id"].to_pylist())
    if not found:
        raise ReleaseError("no sample was named: give ids, --file or --where")
    return [participant_id(index) for index in indices_of(release, sorted(found))]


def names_in(file: Path) -> list[str]:
    """The names in a text file: the first word of each line, as in a participants.tsv.

    Empty lines, a heading `participant_id` and lines that begin with # are passed over.

    Raises:
        ReleaseError: no such file, or no name in it.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ReleaseError(f"--file {file}: more than {MOST_BYTES:,} bytes, no list of ids")
        lines = file.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ReleaseError(f"--file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReleaseError(f"--file {file}: no text file; expected one id a line") from None
    words = [line.replace(",", " ").split() for line in lines]
    names = [word[0] for word in words if word and not word[0].startswith("#")]
    names = [name for name in names if name != "participant_id"]
    if not names:
        raise ReleaseError(f"--file {file}: no id in it; expected one a line, such as sub-000003")
    return names
