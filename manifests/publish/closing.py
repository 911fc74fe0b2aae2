"""Closing a release that was public: strangers are shut out first, then the release says so.

The mark stands in release.json (`published.closed`), README.md, dataset and page. It is one change
of `manifests.changes`: what a kill leaves is finished by whoever changes the release next.
`publish` opens the release again; which of the two has the last word, `gate` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from manifests.changes.changing import Changing
from manifests.changes.journal import UNPUBLISH
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
from manifests.format.segmentation.layout import is_segmentation
from manifests.metadata.staging import Staged, stage
from manifests.publish.checks import refuse_unfinished
from manifests.publish.files import MakePage, is_page, make_page, stage_with_page, viewer_of
from manifests.publish.gate import Gate, NoGate, shut_out
from manifests.query.release import Release
from manifests.text import one_line


@dataclass(kw_only=True)
class Marked:
    """What became of a release's mark.

    Attributes:
        closed: as it stands now; None where the release was never published.
        written: keys of the files that say so; none where they did before.
        mended: which interrupted change was finished first, in words.
    """

    closed: Closed | None = None
    written: list[str] = field(default_factory=list)
    mended: str = ""


def mark_closed(
    release: Release,
    *,
    date: str,
    reason: str = "",
    dry_run: bool = False,
    page: MakePage = make_page,
    gate: Gate | None = None,
) -> Marked:
    """Say in a published release that it is public no more; nothing where it says so already.

    Args:
        date: YYYY-MM-DD.
        reason: for readers.
        page: makes the files of its page, where it has one.
        gate: is closed once more when it says so.

    Raises:
        HeldError: somebody else changes the release now.
        ReleaseError: it is not finished, or a part of another one; a file that holds its rows is
            not the one that release.json names; a place that cannot be written to.
    """
    closed = Closed(date=date, reason=one_line(reason))
    if dry_run:
        return _mark(release, closed, None, page=page)
    release.place.check_writable()
    return shut_out(
        release.place,
        gate or NoGate(),
        lambda work: _mark(Release.at(work.store), closed, work, page=page),
    )


def _mark(release: Release, closed: Closed, work: Changing | None, *, page: MakePage) -> Marked:
    """As of `mark_closed`; without `work` nothing is written."""
    store = release.store
    refuse_unfinished(release, UNPUBLISH)
    mended = work.mended.told if work and work.mended else ""
    published = release.document.published
    if published is None:
        return Marked(mended=mended)
    if published.closed is not None:
        return Marked(closed=published.closed, mended=mended)
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
        done = Marked(closed=closed, mended=mended)
        _write(release, staged, done, work)
    return done


def _stays(key: str) -> bool:
    """Whether a file is as it was: of a version, the evaluation, label maps, or a preview."""
    pictures = key.startswith("previews/") and not is_page(key)
    found = is_evaluation(key) or is_segmentation(key)
    return key.startswith("versions/") or found or pictures


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


def _write(release: Release, staged: Staged, done: Marked, work: Changing | None) -> None:
    """Write what is not there yet."""
    there, new = release.about["files"], staged.about["files"]
    files = {k: data for k, data in sorted(staged.files.items()) if there.get(k) != new[k]}
    done.written = [*files, RELEASE_KEY]
    if work is not None:
        removed = sorted(set(there) - set(new))
        work.commit(UNPUBLISH, files, staged.release_json, removed=removed)
