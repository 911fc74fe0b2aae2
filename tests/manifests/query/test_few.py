"""Few rows come from the parts that hold them, and are those of the whole manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, participant_id
from manifests.query.few import few_rows
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from manifests.volumes.download import download
from manifests.volumes.images import choose
from tests.manifests.releases import make_release

N, SIZE = 60, 4


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Of fifteen parts, in which some samples failed."""
    store = make_release(
        tmp_path_factory.mktemp("few") / "release", N, shard_size=SIZE, failed=(0, 1, 2, 3, 17)
    )
    return Release.open(store.uri)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_they_are_the_rows_of_the_whole_manifest(release: Release, data: st.DataObject) -> None:
    names = st.sampled_from([*map(participant_id, range(N)), "7", "000012", "sub-000099", "x"])
    ids = data.draw(st.none() | st.lists(names, min_size=1, max_size=5))
    limit = data.draw(st.none() | st.integers(1, 20))

    def chosen(few: bool) -> object:
        with held(release, ids=ids if few else None, limit=limit if few else None) as checked:
            try:
                return choose(checked, ids=ids, limit=limit)
            except ReleaseError as error:
                return str(error)

    assert chosen(True) == chosen(False)


@pytest.mark.parametrize(
    ("choice", "parts"),
    [({"ids": ["sub-000059"]}, {14}), ({"limit": 3}, {0, 1}), ({"ids": ["5", "6", "40"]}, {1, 10})],
)
def test_no_more_than_the_parts_that_hold_them_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: Release, choice: dict, parts: set[int]
) -> None:
    read = []
    get = LocalStore.get_with_etag
    chunks = LocalStore.get_chunks

    def told(self: LocalStore, key: str, **about: object) -> object:
        read.append(key)
        return get(self, key, **about)  # type: ignore[arg-type]

    def told_too(self: LocalStore, key: str, **about: object) -> object:
        read.append(key)
        return chunks(self, key, **about)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "get_with_etag", told)
    monkeypatch.setattr(LocalStore, "get_chunks", told_too)
    with held(release, **choice) as checked:
        choose(checked, **choice)
    keys = {part["key"]: number for number, part in enumerate(release.about["parts"])}
    assert {keys[key] for key in read if key in keys} == parts
    assert MANIFEST_KEY not in read


def test_a_part_that_was_edited_gives_way_to_the_manifest(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", N, shard_size=SIZE)
    whole = Release.open(store.uri)
    part, other = (whole.about["parts"][number]["key"] for number in (1, 2))
    store.put(part, store.get(other))
    assert few_rows(whole, ids=["5"]) is None
    download(whole, tmp_path / "out", ids=["5"])
    assert Release.open(tmp_path / "out").query(columns=["index"])["index"].to_pylist() == [5]
    store.put(MANIFEST_KEY, store.get(MANIFEST_KEY)[:-9])
    with pytest.raises(ReleaseError, match=r"not the file that release\.json names"):
        download(whole, tmp_path / "another", ids=["5"])


@pytest.mark.parametrize("choice", [{}, {"ids": ["0", "20", "40", "59"]}, {"limit": 30}])
def test_much_of_a_release_is_read_from_its_manifest(release: Release, choice: dict) -> None:
    assert few_rows(release, **choice) is None


def test_a_small_release_and_a_downloaded_part_are_read_from_their_manifest(tmp_path: Path) -> None:
    small = make_release(tmp_path / "small", 10, shard_size=SIZE)
    assert few_rows(Release.open(small.uri), limit=1) is None
    download(Release.open(small.uri), tmp_path / "part", limit=5)
    assert few_rows(Release.open(tmp_path / "part"), limit=1) is None
