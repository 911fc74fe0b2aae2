"""The page of a release, also of one that is not published and has none."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.format.layout import PAGE_KEY
from manifests.page import page_files
from manifests.query.release import Release
from manifests.storage.base import Store
from ray_jobs.viewing.site import Site, StoredSite


@dataclass(frozen=True)
class ReleaseView:
    """The site of a release, and what is to be said of it."""

    site: Site
    told: str


def view_release(store: Store) -> ReleaseView:
    """The page that lies there where the release was published, else one made for this view.

    Raises:
        ReleaseError: no release, a damaged one, or one that is not whole yet.
    """
    release = Release.at(store)
    name, count = release.document.name, release.about["counts"]["ok"]
    told = f"{name}: {count:,} images of {store.uri}"
    if store.look(PAGE_KEY) is not None:
        return ReleaseView(StoredSite(store), told)
    made = page_files(release)
    return ReleaseView(
        StoredSite(store, made=made), f"{told}; its page is made for this view, publish writes it"
    )
