"""Publishing a release: verified first, stamped, given its page, and kept under its version.

It is one change of `manifests.changes`: documents, page and `versions/X/` are put in their place,
then release.json; then stale files are removed, and only then the bucket's policy lets strangers
in. What a kill leaves is finished by whoever changes the release next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import PUBLISH
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.layout import MANIFEST_KEY, PARTICIPANTS_KEY, RELEASE_KEY
from manifests.format.parquet import read_columns
from manifests.format.published import Published, Version, check_doi
from manifests.format.schema import OK
from manifests.format.segmentation.layout import is_segmentation
from manifests.format.tombstones import tombstones
from manifests.metadata.staging import Staged
from manifests.metadata.terms import license_conflict
from manifests.publish.checks import refuse_unfinished, settled
from manifests.publish.evaluation import (
    EvaluationFolder,
    carried_files,
    check_belongs,
    read_evaluation,
    refuse_not_passed,
)
from manifests.publish.files import (
    MakePage,
    archive,
    is_page,
    is_version,
    make_page,
    stage_with_page,
    viewer_of,
)
from manifests.publish.plan import (
    Differences,
    PublishOptions,
    address_for_readers,
    change_lines,
    differences,
    next_version,
)
from manifests.query.release import Release
from manifests.query.versions import GRAVES, read_version, version_file
from manifests.storage.base import Store
from manifests.storage.threads import OnProgress
from manifests.verify import Report, verify
from manifests.verify.release import CONNECTIONS


@dataclass(kw_only=True)
class Publication:
    """What publishing did, or would do.

    Attributes:
        version, date: as which the release is published now.
        new: whether this is a new version.
        changes: what is new in it.
        written, removed: keys of files, release.json among the former; none where it stood so.
        report: of the check before; where it has errors, nothing was written.
        warning: about the licence.
        mended: which interrupted change was finished first, in words.
    """

    version: str = ""
    date: str = ""
    new: bool = False
    changes: tuple[str, ...] = ()
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    report: Report
    warning: str | None = None
    mended: str = ""


def publish(
    release: Release,
    options: PublishOptions,
    *,
    dry_run: bool = False,
    page: MakePage = make_page,
    connections: int = CONNECTIONS,
    trusting: bool = True,
    on_progress: OnProgress | None = None,
) -> Publication:
    """Publish a finished release as a version of its own; nothing where it is published as it is.

    Args:
        page: makes the files of its page.
        connections, trusting: of the check before.

    Raises:
        HeldError: somebody else changes the release now.
        UnchosenLicenseError, UnchosenAuthorsError: nobody chose its licence, or its authors.
        ReleaseError: it is not finished, or a part of another one; a version that is too low; a
            place that cannot be written to; an evaluation of another release, or one whose privacy
            audit failed.
    """
    check = partial(verify, connections=connections, trusting=trusting, on_progress=on_progress)
    if dry_run:
        return _publish(release, options, None, page=page, check=check)
    release.place.check_writable()
    with changing(release.place, PUBLISH) as work:
        return _publish(Release.at(work.store), options, work, page=page, check=check)


def _publish(
    release: Release,
    options: PublishOptions,
    work: Changing | None,
    *,
    page: MakePage,
    check: Callable[[Release], Report],
) -> Publication:
    """As of `publish`; without `work` nothing is written."""
    store = release.store
    refuse_unfinished(release, PUBLISH)
    document = settled(release.document, options)
    evaluated = None
    if options.evaluation is not None:
        evaluated = read_evaluation(options.evaluation)
        check_belongs(evaluated, release)
        if not options.despite_failed_audit:
            refuse_not_passed(evaluated)
        document = replace(document, evaluation=evaluated.evaluation)
    report = check(release)
    mended = work.mended.told if work and work.mended else ""
    if not report.ok:
        return Publication(report=report, mended=mended)
    with _row_files(store) as large, _viewer(release, options) as viewer:
        done, staged = _stage(
            release, document, options, large, page=page, viewer=viewer, evaluated=evaluated
        )
        done.report, done.mended = report, mended
        done.warning = license_conflict(document.license, document.model) if done.new else None
        _write(release, staged, done, work)
    return done


@contextmanager
def _row_files(store: Store) -> Iterator[dict[str, Path]]:
    """The files that hold all rows, on this machine."""
    with TemporaryDirectory(prefix="brainpress-") as folder:
        large = {key: Path(folder, key) for key in (MANIFEST_KEY, PARTICIPANTS_KEY)}
        for key, path in large.items():
            with path.open("wb") as file:
                file.writelines(store.get_chunks(key))
        yield large


@contextmanager
def _viewer(release: Release, options: PublishOptions) -> Iterator[str | None]:
    if options.viewer is not None:
        yield options.viewer
        return
    with viewer_of(release) as viewer:
        yield viewer


def _stage(
    release: Release,
    document: ReleaseDocument,
    options: PublishOptions,
    large: Mapping[str, Path],
    *,
    page: MakePage,
    viewer: str | None,
    evaluated: EvaluationFolder | None,
) -> tuple[Publication, Staged]:
    """The files as they are to be, and what that publishes."""
    store, about, before = release.store, release.about, document.published
    new = _differences(release, document)
    number = next_version(before, new, options.version, uri=store.uri)
    versions = before.versions if before else ()
    if number is not None:
        if before and options.date < before.last.date:
            last = before.last
            raise ReleaseError(
                f"date {options.date}: version {last.version} is of {last.date}, and this is later"
            )
        counts = about["counts"]
        version = Version(
            version=number,
            date=options.date,
            changes=change_lines(new, options.changes, ok=counts["ok"], seed=document.seed),
            samples=counts["samples"],
            withdrawn=counts.get("withdrawn", 0),
            manifest_sha256=about["files"][MANIFEST_KEY],
        )
        versions = (version, *versions)
    url = options.url or (before.url if before else None)
    viewer_from = viewer if viewer and "://" in viewer else None
    published = Published(
        versions=versions,
        url=url,
        found_at=options.found_at or (before.found_at if before else None),
        address=address_for_readers(release.place, url),
        doi=check_doi(options.doi) if options.doi else (before.doi if before else None),
        viewer=viewer_from,
        closed=before.closed if before and options.private else None,
    )
    document = replace(document, published=published, date=published.last.date)
    staged = stage_with_page(
        store,
        document,
        large,
        about["counts"],
        page=page,
        viewer=viewer,
        kept=_kept(about),
        carried=_carried(release, evaluated),
        shard_size=about["shard_size"],
        parts=about["parts"],
    )
    if number is not None:
        staged = _with_archive(staged, number)
    last = published.last
    done = Publication(
        version=last.version,
        date=last.date,
        new=number is not None,
        changes=last.changes if number is not None else (),
        report=Report(uri=store.uri),
    )
    return done, staged


def _differences(release: Release, document: ReleaseDocument) -> Differences | None:
    if document.published is None:
        return None
    store, last = release.store, document.published.last.version
    then = read_columns(store, version_file(last, MANIFEST_KEY), columns=GRAVES)
    now = read_columns(store, MANIFEST_KEY, columns=GRAVES)
    return differences(
        read_version(store, release.about, last),
        {**document.to_json(), "counts": release.about["counts"]},
        buried_before=tombstones(then),
        buried=tombstones(now),
    )


def _carried(release: Release, evaluated: EvaluationFolder | None) -> dict[str, bytes]:
    maps = {key: release.store.get(key) for key in filter(is_segmentation, release.about["files"])}
    if evaluated is None and release.document.evaluation is None:
        return maps
    gone = release.query(f"status != '{OK}'", columns=["index"])["index"].to_pylist()
    return {**maps, **carried_files(release, evaluated, set(gone))}


def _kept(about: Mapping[str, Any]) -> dict[str, str]:
    """Digests of what stays as it is: earlier versions, and pictures that `generate` made."""
    return {
        key: digest
        for key, digest in about["files"].items()
        if is_version(key) or (key.startswith("previews/") and not is_page(key))
    }


def _with_archive(staged: Staged, version: str) -> Staged:
    small, large = archive(staged, version)
    digests = {key: sha256(data) for key, data in small.items()}
    digests |= {
        version_file(version, key): staged.about["files"][key]
        for key in staged.large
        if version_file(version, key) in large
    }
    files = dict(sorted({**staged.about["files"], **digests}.items()))
    return Staged(
        small={**staged.small, **small},
        large={**staged.large, **large},
        about={**staged.about, "files": files},
    )


def _write(release: Release, staged: Staged, done: Publication, work: Changing | None) -> None:
    """Write what is not there yet."""
    there, new = release.about["files"], staged.about["files"]
    done.removed = sorted(set(there) - set(new))
    if release.store.get(RELEASE_KEY) == staged.release_json:
        return
    files = {k: data for k, data in sorted(staged.files.items()) if there.get(k) != new[k]}
    done.written = [*files, RELEASE_KEY]
    if work is not None:
        work.commit(PUBLISH, files, staged.release_json, removed=done.removed)
