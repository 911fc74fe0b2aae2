"""Mirrors: the same release in another place, byte for byte, and what stops one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from manifests.errors import ReleaseError
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store, threads
from manifests.storage.base import ChangedError, Chunk
from manifests.storage.local import LocalStore
from manifests.verify import verify
from manifests.verify.shards import verify_shards
from manifests.volumes.download import download
from manifests.volumes.mirror import MARK_KEY, mirror
from manifests.volumes.shard_index import INDEX_KEY, read_index
from manifests.volumes.shards import write_shards
from ray_jobs.cli import main
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.publish.test_kill import small_page
from tests.manifests.publish.test_unlisted import stranger_gets
from tests.manifests.releases import make_release

GROWING = "manifest/target.json"  # how large a `generate` here is to make it: of that place alone


def published(uri: str | Path, n: int = 6) -> Release:
    make_release(uri, n)
    publishes(uri)
    return Release.open(uri)


def publishes(uri: str | Path, **options: Any) -> None:
    wanted: dict[str, Any] = {"license": "CC-BY-4.0", "date": "2026-11-23", "authors": ("A. Lab",)}
    publish(Release.open(uri), PublishOptions(**{**wanted, **options}), page=small_page)


def files(uri: str | Path) -> dict[str, bytes]:
    found = everything(open_store(uri))
    found.pop(GROWING, None)
    return found


def test_a_mirror_is_the_same_release_with_the_same_digest(place: str, tmp_path: Path) -> None:
    release = published(tmp_path / "own")
    done = mirror(open_store(tmp_path / "own"), open_store(place))
    assert (done.digest, done.present) == (release.digest, 0)
    assert files(place) == files(tmp_path / "own")
    assert verify(Release.open(place, expect=release.digest)).findings == []
    again = mirror(open_store(tmp_path / "own"), open_store(place), expect=release.digest)
    assert (again.copied, again.present, again.removed) == (0, done.copied, [])
    assert Release.open(place, version="1.0.0").query().num_rows == 6


def test_bucket_to_bucket_and_open_to_everyone_without_a_changed_byte(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = f"s3://{bucket}/a/release", f"s3://{bucket}/b/mirror"
    digest = published(source).digest
    assert main(["mirror", source, target, "--expect", digest]) == 0
    before = files(target)
    assert main(["publish", target, "--as-is"]) == 0
    told = capsys.readouterr().out
    assert digest in told
    assert files(target) == before == files(source)
    assert json.loads(stranger_gets(bucket, "b/mirror/release.json"))["name"]
    assert main(["info", target, "--release-version", "1.0.0"]) == 0


@pytest.mark.parametrize("option", [["--doi", "10.5281/zenodo.1"], ["--private"], ["--name", "x"]])
def test_as_is_goes_with_nothing_that_would_change_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    published(tmp_path, 2)
    assert main(["publish", str(tmp_path), "--as-is", *option]) == 2
    assert f"{option[0]}: shards, and what is published --as-is, stay" in capsys.readouterr().err


def test_as_is_opens_nothing_that_was_not_published(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--as-is"]) == 2
    assert "is of a release that was not published" in capsys.readouterr().err
    write_shards(Release.open(uri), f"s3://{bucket}/a/shards")
    assert main(["publish", f"s3://{bucket}/a/shards"]) == 2


class Dying(LocalStore):
    """A place whose writer dies with the file after so many."""

    left = 10

    def put(self, key: str, data: bytes, **about: Any) -> None:
        self._count()
        super().put(key, data, **about)

    def put_chunks(self, key: str, chunks: Iterable[Chunk], **about: Any) -> None:
        self._count()
        super().put_chunks(key, chunks, **about)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("left", [2, 5, 9, 20, 30])
def test_what_a_death_left_is_no_release_and_the_same_command_goes_on(
    tmp_path: Path, left: int
) -> None:
    published(tmp_path / "own")
    dying = Dying(tmp_path / "copy")
    dying.left = left
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "CONNECTIONS", 1)  # one by one, so that it is known which are whole
        with pytest.raises(KeyboardInterrupt):
            mirror(open_store(tmp_path / "own"), dying)
    with pytest.raises(ReleaseError):
        Release.open(tmp_path / "copy")
    done = mirror(open_store(tmp_path / "own"), open_store(tmp_path / "copy"))
    assert done.present >= min(left - 2, 6) - 1
    assert files(tmp_path / "copy") == files(tmp_path / "own")


def test_after_a_new_version_the_copy_is_brought_up_to_date(place: str, tmp_path: Path) -> None:
    published(tmp_path / "own")
    mirror(open_store(tmp_path / "own"), open_store(place))
    withdraw(Release.open(tmp_path / "own"), ["sub-000003"], "bad", page=small_page)
    publishes(tmp_path / "own", name="Others")
    done = mirror(open_store(tmp_path / "own"), open_store(place))
    assert "sub-000003/anat/sub-000003_T1w.nii.gz" in done.removed
    assert files(place) == files(tmp_path / "own")
    assert verify(Release.open(place)).findings == []


def test_a_death_while_it_is_brought_up_to_date_leaves_no_withdrawn_image(tmp_path: Path) -> None:
    published(tmp_path / "own")
    mirror(open_store(tmp_path / "own"), open_store(tmp_path / "copy"))
    withdraw(Release.open(tmp_path / "own"), ["sub-000003"], "bad", page=small_page)

    class Stuck(LocalStore):
        def delete(self, key: str, *, etag: str | None = None) -> None:
            if key.startswith("sub-"):
                raise KeyboardInterrupt
            super().delete(key, etag=etag)

    with pytest.raises(KeyboardInterrupt):
        mirror(open_store(tmp_path / "own"), Stuck(tmp_path / "copy"))
    assert (tmp_path / "copy" / MARK_KEY).exists()
    mirror(open_store(tmp_path / "own"), open_store(tmp_path / "copy"))
    assert files(tmp_path / "copy") == files(tmp_path / "own")


@pytest.mark.parametrize("key", ["sub-000001/anat/sub-000001_T1w.nii.gz", "README.md"])
def test_a_file_that_is_not_the_one_named_is_not_copied(tmp_path: Path, key: str) -> None:
    published(tmp_path / "own")
    data = (tmp_path / "own" / key).read_bytes()
    (tmp_path / "own" / key).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ReleaseError, match=f"{key}: its SHA-256 is") as refused:
        mirror(open_store(tmp_path / "own"), open_store(tmp_path / "copy"))
    assert refused.value.exit_code == 1
    assert not (tmp_path / "copy" / key).exists()
    assert not (tmp_path / "copy" / "release.json").exists()


def test_a_release_that_is_changed_meanwhile_is_not_taken_for_whole(tmp_path: Path) -> None:
    published(tmp_path / "own")

    class Changing(LocalStore):
        def put(self, key: str, data: bytes, **about: Any) -> None:
            super().put(key, data, **about)
            if key.endswith("sub-000001_T1w.nii.gz"):
                publishes(tmp_path / "own", name="Others")

    with pytest.raises((ChangedError, ReleaseError)):
        mirror(open_store(tmp_path / "own"), Changing(tmp_path / "copy"))
    assert not (tmp_path / "copy" / "release.json").exists()
    mirror(open_store(tmp_path / "own"), open_store(tmp_path / "copy"))
    assert files(tmp_path / "copy") == files(tmp_path / "own")


def test_nothing_of_another_is_overwritten(tmp_path: Path) -> None:
    published(tmp_path / "own")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for target, line in (("mine", "holds something else"), ("own/x", "overlap")):
        with pytest.raises(ReleaseError, match=line):
            mirror(open_store(tmp_path / "own"), open_store(tmp_path / target))
    download(Release.open(tmp_path / "own"), tmp_path / "part", limit=2)
    with pytest.raises(ReleaseError, match=r"holds something else \(a downloaded part"):
        mirror(open_store(tmp_path / "own"), open_store(tmp_path / "part"))
    with pytest.raises(ReleaseError, match="mirror that release itself"):
        mirror(open_store(tmp_path / "part"), open_store(tmp_path / "new"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_earlier_version_does_not_take_the_place_of_a_later(tmp_path: Path) -> None:
    published(tmp_path / "own")
    mirror(open_store(tmp_path / "own"), open_store(tmp_path / "old"))
    publishes(tmp_path / "own", name="Others")
    with pytest.raises(ReleaseError, match=r"holds version 1\.0\.1 of it"):
        mirror(open_store(tmp_path / "old"), open_store(tmp_path / "own"))


def test_shards_are_mirrored_verified_opened_and_closed(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path / "own", 12)
    write_shards(Release.open(tmp_path / "own"), tmp_path / "shards", size=12_000)
    target = f"s3://{bucket}/a/shards"
    assert main(["mirror", str(tmp_path / "shards"), target]) == 0
    assert everything(open_store(target)) == everything(open_store(tmp_path / "shards"))
    assert main(["verify", target]) == 0
    assert "all is well: 12 images" in capsys.readouterr().out
    assert main(["publish", target]) == 0
    assert f"{bucket}/a/shards/README.md" in capsys.readouterr().out
    assert json.loads(stranger_gets(bucket, f"a/shards/{INDEX_KEY}"))["samples"] == 12
    assert main(["unpublish", target, "--yes"]) == 0
    with pytest.raises(Exception, match="AccessDenied"):
        stranger_gets(bucket, f"a/shards/{INDEX_KEY}")
    open_store(target).put("cohort.csv", b"names")
    assert main(["publish", target]) == 1
    assert "not of the shards" in capsys.readouterr().err


def test_the_card_of_shards_has_terms_citation_and_digests(tmp_path: Path) -> None:
    published(tmp_path / "own")
    write_shards(Release.open(tmp_path / "own"), tmp_path / "shards")
    index = read_index(open_store(tmp_path / "shards"))
    assert index is not None
    assert {"README.md", "LICENSE", "CITATION.cff", "index.parquet"} == set(index["files"])
    assert index["published"] == "1.0.0"
    card = (tmp_path / "shards" / "README.md").read_text()
    assert card.startswith("---\npretty_name:")
    assert "not audited" in card
    assert "A. Lab. Tiny synthetic brains." in card
    assert verify_shards(open_store(tmp_path / "shards"), index).findings == []


def test_shards_are_downloaded_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(tmp_path / "own", 4)
    write_shards(Release.open(tmp_path / "own"), tmp_path / "shards")
    words = ["download", str(tmp_path / "shards"), str(tmp_path / "copy")]
    assert main([*words, "--limit", "2"]) == 2
    assert "is a set of shards, which is downloaded whole" in capsys.readouterr().err
    assert main(words) == 0
    assert everything(open_store(tmp_path / "copy")) == everything(open_store(tmp_path / "shards"))
    assert main(["query", str(tmp_path / "shards")]) == 2
    assert "these are shards of a release" in capsys.readouterr().err
