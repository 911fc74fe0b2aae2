"""Death at every single write of publish and withdraw: the same command mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from manifests.format.layout import RELEASE_KEY
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
    """Nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize(
    ("start", "act"),
    [("new", publishes), ("withdrawn", publishes), ("published", withdraws)],
    ids=["publish", "publish the next version", "withdraw"],
)
def test_death_before_every_single_write_is_mended_by_the_same_command(
    tmp_path: Path, made: dict[str, Path], start: str, act: Act
) -> None:
    shutil.copytree(made[start], tmp_path / "undisturbed")
    act(LocalStore(tmp_path / "undisturbed"))
    undisturbed = everything(open_store(tmp_path / "undisturbed"))
    deaths = 0
    for death in range(1, 100):
        folder = tmp_path / str(death)
        shutil.copytree(made[start], folder)
        store = DyingStore(folder, death=death)
        try:
            act(store)
        except Died:
            deaths += 1
            for version in (None, "1.0.0") if start != "new" else (None,):
                every_row_has_its_image(folder, version)
            act(LocalStore(folder))
        assert everything(store) == undisturbed
        assert not any(path.is_dir() and not any(path.iterdir()) for path in folder.rglob("*"))
        shutil.rmtree(folder)
        if store.death > 0:  # it outlived all its writes
            break
    assert deaths >= 14
    release = Release.open(tmp_path / "undisturbed")
    assert verify(release).findings == []


def every_row_has_its_image(folder: Path, version: str | None) -> None:
    """What a reader finds who comes now."""
    release = Release.open(folder, version=version)
    paths = release.query("status = 'ok'", columns=["path"])["path"].to_pylist()
    assert len(paths) >= N - 2
    for path in paths:
        assert (folder / path).is_file()


def test_a_death_before_release_json_leaves_the_release_that_was(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    shutil.copytree(made["new"], tmp_path / "x")
    before = (tmp_path / "x" / RELEASE_KEY).read_bytes()
    with pytest.raises(Died):
        publishes(DyingStore(tmp_path / "x", death=8))
    assert (tmp_path / "x" / RELEASE_KEY).read_bytes() == before
    codes = {finding.code for finding in verify(Release.open(tmp_path / "x")).findings}
    assert "change-unfinished" in codes


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


def test_another_command_waits_until_the_first_was_finished(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    for act, other, verb in ((publishes, withdraws, "publish"), (withdraws, publishes, "withdraw")):
        shutil.copytree(made["new"], tmp_path / verb)
        with pytest.raises(Died):
            act(DyingStore(tmp_path / verb, death=6))
        with pytest.raises(ValueError, match=f"`brainpress {verb}` was interrupted") as caught:
            other(LocalStore(tmp_path / verb))
        assert caught.value.exit_code == 1  # type: ignore[attr-defined]


def test_the_reason_of_a_withdrawal_that_was_interrupted_stays(
    tmp_path: Path, made: dict[str, Path]
) -> None:
    """The parts may have it already."""
    shutil.copytree(made["new"], tmp_path / "x")
    with pytest.raises(Died):
        withdraws(DyingStore(tmp_path / "x", death=5))
    release = Release.open(tmp_path / "x")
    done = withdraw(release, ["sub-000002", "sub-000004"], "another reason", page=small_page)
    assert done.mended
    assert done.withdrawn == {1: "no cerebellum", 2: "another reason", 4: "no cerebellum"}
    release = Release.open(tmp_path / "x")
    assert verify(release).findings == []
    table = release.query("status = 'withdrawn'", columns=["index", "error"])
    assert dict(zip(*table.to_pydict().values(), strict=True)) == done.withdrawn
