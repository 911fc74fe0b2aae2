"""Closing a release that was public: strangers are shut out first, then the release says so.

The mark stands in release.json (`published.closed`), README.md, dataset and page. It is written as
every change is: a note first, release.json last, and a kill at any point is mended by the same
command. `publish` opens the release again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from manifests.digests import file_sha256
from manifests.errors import ReleaseError
from manifests.format.evaluation import is_evaluation
from manifests.format.layout import (
    MANIFEST_KEY,
    PAGE_KEY,
    PARTICIPANTS_KEY,
    RELEASE_KEY,
)
from manifests.format.published import Closed
from manifests.metadata.staging import Staged, stage
from manifests.publish.checks import refuse_unfinished
from manifests.publish.files import MakePage, is_page, make_page, stage_with_page, viewer_of
from manifests.publish.journal import UNPUBLISH, Change, read_change, refuse_other
from manifests.query.release import Release
from manifests.text import one_line


@dataclass(kw_only=True)
class Marked:
    """What became of a release's mark.

    Attributes:
        closed: as it stands now; None where the release was never published.
        written: keys of the files that say so; none where they did before.
    """

    closed: Closed | None = None
    written: list[str] = field(default_factory=list)


def mark_closed(
    release: Release,
    *,
    date: str,
    reason: str = "",
    dry_run: bool = False,
    page: MakePage = make_page,
) -> Marked:
    """Say in a published release that it is public no more; nothing where it says so already.

    Args:
        date: YYYY-MM-DD.
        reason: for readers.
        page: makes the files of its page, where it has one.

    Raises:
        ReleaseError: it is not finished, or a part of another one; another change was interrupted;
            a file that holds its rows is not the one that release.json names.
    """
    store = release.store
    refuse_unfinished(release, UNPUBLISH)
    begun = read_change(store)
    refuse_other(store, begun, UNPUBLISH)
    published = release.document.published
    if published is None:
        return Marked()
    if published.closed is not None:
        if begun is not None and not dry_run:
            begun.finish(store)
        return Marked(closed=published.closed)
    closed = Closed(date=date, reason=one_line(reason))
    document = replace(release.document, published=replace(published, closed=closed))
    about = release.about
    kept = {key: digest for key, digest in about["files"].items() if _stays(key)}
    shards = {"shard_size": about["shard_size"], "parts": about["parts"], "kept": kept}
    with TemporaryDirectory(prefix="brainpress-") as folder:
        large = _row_files(release, Path(folder))
        if PAGE_KEY in about["files"]:
            with viewer_of(release) as viewer:
                staged = stage_with_page(
                    store,
                    document,
                    large,
                    about["counts"],
                    page=page,
                    viewer=viewer,
                    **shards,
                )
        else:
            staged = stage(document, large, about["counts"], **shards)
        done = Marked(closed=closed)
        _write(release, staged, begun, done, dry_run=dry_run)
    return done


def _stays(key: str) -> bool:
    """Whether a file is as it was: of a version, of the evaluation, a picture of `generate`."""
    pictures = key.startswith("previews/") and not is_page(key)
    return key.startswith("versions/") or is_evaluation(key) or pictures


def _row_files(release: Release, folder: Path) -> dict[str, Path]:
    """The files that hold all rows, on this machine, each the one that release.json names."""
    files = {key: folder / key for key in (MANIFEST_KEY, PARTICIPANTS_KEY)}
    for key, path in files.items():
        with path.open("wb") as file:
            file.writelines(release.store.get_chunks(key))
        if file_sha256(path) != release.about["files"].get(key):
            raise ReleaseError(
                f"{release.store.uri}/{key} is not the file that release.json names; see"
                " `brainpress verify`",
                exit_code=1,
            )
    return files


def _write(
    release: Release, staged: Staged, begun: Change | None, done: Marked, *, dry_run: bool
) -> None:
    """Write what is not there yet, in its order."""
    store, new = release.store, staged.about["files"]
    earlier: Mapping[str, str] = begun.files if begun else {}
    there = {key: digest for key, digest in release.about["files"].items() if key not in earlier}
    made = {*staged.small, *staged.large}
    done.written = [*sorted(key for key in made if there.get(key) != new[key]), RELEASE_KEY]
    if dry_run:
        return
    stale = {*release.about["files"], *(begun.removed if begun else ())} - set(new)
    files = {key: new[key] for key in done.written if key in new}
    change = Change(verb=UNPUBLISH, files=files, removed=tuple(sorted(stale)))
    change.write(store)
    staged.write(store, but=there)
    change.finish(store)
