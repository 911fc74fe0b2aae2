"""Death between the writes of publish and withdraw: whoever comes next mends it.

`tests/faults/contenders.py` has them die at every one, and together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from manifests.changes.holder import Holder
from manifests.changes.lease import Lease
from manifests.changes.register import Decided
from manifests.digests import sha256
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY
from manifests.format.release_json import read_release
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.verify import verify
from tests.manifests.dying_store import Died, DyingStore
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.releases import make_release

N = 5
STRIDE = 4  # of some 50 writes each
OPTIONS = PublishOptions(license="CC-BY-4.0", date="2026-11-23", authors=("A. Lab",))
Act = Callable[[LocalStore], object]


def small_page(release: Release, viewer: str | None) -> Mapping[str, bytes]:
    """A page that is a function of the rows, with a file for each image, as the real one has."""
    ids = release.query("status = 'ok'", columns=["participant_id"])["participant_id"].to_pylist()
    readme = release.store.get("README.md")
    pictures = {f"page/pictures/{key}.png": key.encode() for key in ids[:2]}
    return {"index.html": f"{ids} {len(readme)}".encode(), **pictures}


def publishes(store: LocalStore) -> None:
    done = publish(Release(store, read_release(store)), OPTIONS, page=small_page)
    assert done.report.ok, done.report.findings


def withdraws(store: LocalStore) -> None:
    withdraw(
        Release(store, read_release(store)),
        ["sub-000001", "sub-000004"],
        "no cerebellum",
        page=small_page,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release as each act finds it."""
    folder = tmp_path_factory.mktemp("made")
    make_release(folder / "new", N, shard_size=2)
    shutil.copytree(folder / "new", folder / "published")
    publishes(LocalStore(folder / "published"))
    shutil.copytree(folder / "published", folder / "withdrawn")
    withdraws(LocalStore(folder / "withdrawn"))
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here. And who died was a process of its own."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(Holder, "is_gone", True)


@pytest.mark.parametrize(
    ("start", "act"),
    [("new", publishes), ("withdrawn", publishes), ("published", withdraws)],
    ids=["publish", "publish the next version", "withdraw"],
)
def test_death_between_any_two_writes_is_mended_by_the_same_command(
    tmp_path: Path, made: dict[str, Path], start: str, act: Act
) -> None:
    shutil.copytree(made[start], tmp_path / "undisturbed")
    act(LocalStore(tmp_path / "undisturbed"))
    undisturbed = everything(open_store(tmp_path / "undisturbed"))
    deaths, releases = 0, {seen_whole(made[start])}
    for death in range(1, 200, STRIDE):
        folder = tmp_path / str(death)
        shutil.copytree(made[start], folder)
        store = DyingStore(folder, death=death)
        try:
            act(store)
        except Died:
            deaths += 1
            releases.add(seen_whole(folder))
            for version in (None, "1.0.0") if start != "new" else (None,):
                every_row_has_its_image(folder, version)
            act(LocalStore(folder))
        assert everything(store) == undisturbed
        assert not any(path.is_dir() and not any(path.iterdir()) for path in folder.rglob("*"))
        shutil.rmtree(folder)
        if store.death > 0:  # it outlived all its writes
            break
    assert deaths >= 12
    assert releases == {seen_whole(made[start]), seen_whole(tmp_path / "undisturbed")}
    release = Release.open(tmp_path / "undisturbed")
    assert verify(release).findings == []


def seen_whole(folder: Path) -> str:
    """The digest of the release.json that readers find; all files are the ones it names."""
    release = Release.open(folder)
    for key, digest in release.about["files"].items():
        assert sha256(release.store.get(key)) == digest, key
    for part in release.about["parts"]:
        assert sha256(release.store.get(part["key"])) == part["sha256"], part["key"]
    with release.store.open(MANIFEST_KEY) as file:
        assert sha256(file.read()) == release.about["files"][MANIFEST_KEY]
    return sha256(release.store.get(RELEASE_KEY))


def every_row_has_its_image(folder: Path, version: str | None) -> None:
    """What a reader finds who comes now."""
    release = Release.open(folder, version=version)
    paths = release.query("status = 'ok'", columns=["path"])["path"].to_pylist()
    assert len(paths) >= N - 2
    for path in paths:
        assert (folder / path).is_file()


def dies_once_decided(folder: Path, act: Act) -> None:
    """The last step before the first file is put in its place."""
    store, decide = DyingStore(folder), Lease.decide

    def and_dies(lease: Lease, change: Decided | None) -> None:
        decide(lease, change)
        store.dead = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lease, "decide", and_dies)
        with pytest.raises(Died):
            act(store)


def test_a_change_that_was_decided_is_seen_before_any_of_it_is_in_its_place(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    shutil.copytree(made["new"], tmp_path / "x")
    before = (tmp_path / "x" / RELEASE_KEY).read_bytes()
    dies_once_decided(tmp_path / "x", publishes)
    assert (tmp_path / "x" / RELEASE_KEY).read_bytes() == before
    assert Release.open(tmp_path / "x").document.published is not None
    (found,) = verify(Release.open(tmp_path / "x")).findings
    assert (found.severity, found.code) == ("warning", "change-unfinished")


def test_what_somebody_else_changed_meanwhile_is_not_published(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    shutil.copytree(made["new"], tmp_path / "x")
    with pytest.raises(Died):
        publishes(DyingStore(tmp_path / "x", death=8))
    (tmp_path / "x" / "README.md").write_text("nothing to see")
    done = publish(Release.open(tmp_path / "x"), OPTIONS, page=small_page)
    assert [(f.code, f.key) for f in done.report.findings if f.severity == "error"] == [
        ("file-changed", "README.md")
    ]
    assert not done.written


@pytest.mark.parametrize(
    ("act", "other"), [(publishes, withdraws), (withdraws, publishes)], ids=["publish", "withdraw"]
)
def test_another_command_finishes_what_the_first_had_decided_or_finds_nothing_of_it(
    tmp_path: Path, made: dict[str, Path], act: Act, other: Act
) -> None:
    """Both were done, one after the other, or only the one that lived."""
    shutil.copytree(made["new"], tmp_path / "alone")
    shutil.copytree(made["new"], tmp_path / "both")
    for folder, acts in (("alone", [other]), ("both", [act, other])):
        for each in acts:
            each(LocalStore(tmp_path / folder))
    alone, both = (everything(open_store(tmp_path / name)) for name in ("alone", "both"))
    found = []
    for death in range(1, 200, STRIDE):
        folder = tmp_path / str(death)
        shutil.copytree(made["new"], folder)
        store = DyingStore(folder, death=death)
        with suppress(Died):
            act(store)
        other(LocalStore(folder))
        found.append(everything(LocalStore(folder)))
        shutil.rmtree(folder)
        if store.death > 0:
            break
    turn = found.index(both)
    assert 3 < turn < len(found) - 3
    assert all(files == alone for files in found[:turn])
    assert all(files == both for files in found[turn:])


def test_the_reason_of_a_withdrawal_that_was_interrupted_stays(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    shutil.copytree(made["new"], tmp_path / "x")
    dies_once_decided(tmp_path / "x", withdraws)
    release = Release.open(tmp_path / "x")
    done = withdraw(release, ["sub-000002", "sub-000004"], "another reason", page=small_page)
    assert done.mended
    assert done.withdrawn == {1: "no cerebellum", 2: "another reason", 4: "no cerebellum"}
    release = Release.open(tmp_path / "x")
    assert verify(release).findings == []
    table = release.query("status = 'withdrawn'", columns=["index", "error"])
    assert dict(zip(*table.to_pydict().values(), strict=True)) == done.withdrawn
