"""The files of a published release: its documents, and the page made of them and of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from manifests.format.document import ReleaseDocument
from manifests.format.evaluation import is_evaluation
from manifests.format.json_text import json_bytes
from manifests.format.layout import MANIFEST_KEY, PAGE_KEY, PARTICIPANTS_KEY, RELEASE_KEY, VERSIONS
from manifests.format.segmentation.layout import is_segmentation
from manifests.metadata.staging import NOTHING, Staged, stage
from manifests.query.release import Release
from manifests.query.versions import version_file
from manifests.storage.base import Store
from manifests.storage.overlay import Overlay

LOCAL_VIEWER_KEY = "page/niivue.umd.js"
# Of a release and where its viewer comes from, the files of its page.
MakePage = Callable[[Release, str | None], Mapping[str, bytes]]


def make_page(release: Release, viewer: str | None) -> Mapping[str, bytes]:
    """The page of `manifests.page`."""
    from manifests.page import page_files

    return page_files(release, viewer=viewer)


def is_page(key: str) -> bool:
    """Whether a file is of a release's page, and made anew with it."""
    return key == PAGE_KEY or key.startswith("page/") or key == "previews/contact-sheet.png"


def is_version(key: str) -> bool:
    """Whether a file is of a version that was published, and never changes."""
    return key.startswith(f"{VERSIONS}/")


def stage_with_page(
    store: Store,
    document: ReleaseDocument,
    large: Mapping[str, Path],
    counts: Mapping[str, int],
    *,
    page: MakePage,
    viewer: str | None,
    kept: Mapping[str, str],
    carried: Mapping[str, bytes] = NOTHING,
    shard_size: int | None,
    parts: list[dict[str, Any]],
) -> Staged:
    """A release's files with its page, which is made of the files as they are to be.

    Args:
        carried: the files of its evaluation and of its label maps, by key.
    """

    def staged(large: Mapping[str, Path], extra: Mapping[str, bytes]) -> Staged:
        return stage(
            document,
            large,
            counts,
            extra={**carried, **extra},
            kept=kept,
            shard_size=shard_size,
            parts=parts,
        )

    bare = staged(large, {})
    view = Overlay(store, files={**bare.small, **bare.large})
    return staged(bare.large, page(Release(view, dict(bare.about)), viewer))


@contextmanager
def viewer_of(release: Release) -> Iterator[str | None]:
    """Where the page of a published release has its viewer from, for `page_files`."""
    published = release.document.published
    if published is not None and published.viewer:
        yield published.viewer
    elif LOCAL_VIEWER_KEY in release.about["files"]:
        with TemporaryDirectory(prefix="brainpress-") as folder:
            path = Path(folder, "niivue.umd.js")
            path.write_bytes(release.store.get(LOCAL_VIEWER_KEY))
            yield str(path)
    else:
        yield None


# What is kept of a version, beside its release.json, its evaluation and what tells of its maps.
KEPT = (MANIFEST_KEY, PARTICIPANTS_KEY, "README.md", "CHANGES", "LICENSE")


def archive(staged: Staged, version: str) -> tuple[dict[str, bytes], dict[str, Path]]:
    """The files by which a version stays, by key: those in memory, and those on this machine.

    Its release.json names these alone: images, label maps, parts and pages may change.
    """
    named = staged.about["files"]
    kept = sorted([*KEPT, *filter(is_evaluation, named), *filter(is_segmentation, named)])
    small = {version_file(version, k): staged.small[k] for k in kept if k in staged.small}
    large = {version_file(version, k): staged.large[k] for k in kept if k in staged.large}
    digests = {key: staged.about["files"][key] for key in kept}
    about = {**staged.about, "shard_size": None, "parts": [], "files": digests}
    small[version_file(version, RELEASE_KEY)] = json_bytes(about)
    return small, large
