"""Withdrawing a sample: a tombstone says why, the image is gone, and it does not come back."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from manifests.changes.holder import Holder
from manifests.errors import ReleaseError
from manifests.format.layout import image_path, participant_id
from manifests.format.parquet import read_columns
from manifests.format.schema import rows_table
from manifests.format.tombstones import bury, tombstones
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.verify import verify
from ray_jobs.cli import main
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.publish.test_kill import dies_once_decided, small_page
from tests.manifests.publish.test_publication import etags, grow, publishes
from tests.manifests.releases import (
    SCHEMA,
    begin,
    document,
    image_bytes,
    make_release,
    row,
    write_shard,
)

N, WHY = 6, "no cerebellum"


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def withdraws(place: str | Path, *samples: str) -> None:
    ids = [f"sub-{int(sample):06d}" for sample in samples]
    withdraw(Release.open(place), ids, WHY, page=small_page)


def test_a_withdrawn_sample_leaves_a_tombstone_and_nothing_else(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(place, N)
    assert main(["withdraw", place, "sub-000003", "sub-000004", "--reason", WHY, "--yes"]) == 0
    assert "samples 3-4 withdrawn from" in capsys.readouterr().out
    release = Release.open(place)
    assert verify(release).findings == []
    assert release.about["counts"] == {
        "samples": N,
        "ok": 4,
        "failed": 0,
        "withdrawn": 2,
        "image_bytes": sum(len(image_bytes(index)) for index in (0, 1, 2, 5)),
    }
    asked = row(3)
    (found,) = release.query("index = 3").to_pylist()
    assert found == {**asked, "status": "withdrawn", "error": WHY, "attempt": 0}
    left = everything(store)
    assert not any("sub-000003" in key or "sub-000004" in key for key in left)
    for key in ("participants.tsv", "croissant.json", "README.md"):
        assert b"sub-000003" not in left[key]
    assert b"2 samples were withdrawn" in left["README.md"]
    assert "4 synthetic" in json.loads(left["croissant.json"])["description"]
    assert not any(key.startswith("previews/") for key in left)  # they may show them


def test_what_remains_is_valid_bids_and_downloads_without_it(tmp_path: Path) -> None:
    make_release(tmp_path / "r", N)
    withdraws(tmp_path / "r", "3")
    assert bids_errors(str(tmp_path / "r")) == ""
    assert main(["download", str(tmp_path / "r"), str(tmp_path / "d")]) == 0
    taken = Release.open(tmp_path / "d")
    assert taken.query(columns=["index"])["index"].to_pylist() == [0, 1, 2, 4, 5]
    assert main(["download", str(tmp_path / "r"), str(tmp_path / "e"), "--ids", "3"]) == 2


def test_withdrawing_again_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, N)
    withdraws(tmp_path, "3")
    before = etags(store)
    assert main(["withdraw", str(tmp_path), "sub-000003", "--reason", "another"]) == 0
    told = capsys.readouterr().out
    assert "sample 3 was withdrawn before" in told
    assert "nothing to do" in told
    assert etags(store) == before


def test_more_samples_may_be_withdrawn_later_and_each_keeps_its_reason(tmp_path: Path) -> None:
    make_release(tmp_path, N)
    withdraws(tmp_path, "3")
    done = withdraw(
        Release.open(tmp_path), ["sub-000003", "sub-000001"], "too dark", page=small_page
    )
    assert (done.withdrawn, done.already) == ({1: "too dark"}, [3])
    table = Release.open(tmp_path).query()
    assert tombstones(table) == {1: "too dark", 3: WHY}
    assert verify(Release.open(tmp_path)).findings == []


def test_an_image_that_came_back_is_found_and_removed_by_the_same_command(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    withdraws(tmp_path, "3")
    store.put(image_path(3), image_bytes(3))
    found = verify(Release.open(tmp_path))
    assert [(f.code, f.key) for f in found.findings] == [("image-withdrawn", image_path(3))]
    withdraws(tmp_path, "3")
    assert verify(Release.open(tmp_path)).findings == []


def test_generate_does_not_bring_a_withdrawn_sample_back(tmp_path: Path) -> None:
    """Also not where its shard was the last, which a larger release completes."""
    store = make_release(tmp_path, N)
    withdraws(tmp_path, "1", "5")
    before = everything(store)
    store_again, plan = open_store(tmp_path), ShardPlan(N, 4)
    begin(store_again, plan)
    assert Ledger(store_again).pending(plan) == []
    finalise(store_again, plan, document())
    assert everything(store_again) == before
    grow(tmp_path, 11)
    release = Release.open(tmp_path)
    assert verify(release).findings == []
    assert tombstones(release.query()) == {1: WHY, 5: WHY}
    assert image_path(5) not in everything(store)


def test_a_worker_that_commits_meanwhile_does_not_undo_it(tmp_path: Path) -> None:
    """It read the part before the sample was withdrawn, and makes the shard larger after."""
    store, larger = make_release(tmp_path, 6), ShardPlan(8, 4)
    made = rows_table([row(index, image_bytes(index)) for index in range(4, 8)], SCHEMA)
    withdraws(tmp_path, "5")
    assert Ledger(store).commit(1, made, larger.expected_rows(1)) == "committed"
    assert tombstones(read_columns(store, "manifest/part-00001.parquet")) == {5: WHY}
    assert Ledger(store).commit(1, made, larger.expected_rows(1)) == "already"


def test_the_page_and_every_version_learn_of_it(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    publishes(tmp_path)
    kept = {key: data for key, data in everything(store).items() if key.startswith("versions/")}
    withdraws(tmp_path, "1")
    assert b"sub-000001" not in store.get("index.html")
    assert "page/pictures/sub-000001.png" not in everything(store)
    assert kept.items() <= everything(store).items()
    old = Release.open(tmp_path, version="1.0.0")
    (found,) = old.query("index = 1", columns=["status", "error", "path", "sha256"]).to_pylist()
    assert found == {"status": "withdrawn", "error": WHY, "path": None, "sha256": None}
    assert old.about["counts"]["ok"] == N - 1
    assert verify(Release.open(tmp_path)).findings == []
    done = publishes(tmp_path)
    assert (done.version, done.changes) == ("1.0.1", (f"sample 1 withdrawn: {WHY}",))
    assert done.removed == []
    assert Release.open(tmp_path, version="1.0.1").about["counts"]["withdrawn"] == 1


def test_a_dry_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_release(tmp_path, N)
    before = etags(store)
    assert main(["withdraw", str(tmp_path), "sub-000003", "--reason", WHY, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "sample 3 would be withdrawn" in told
    assert f"would be removed: {image_path(3)}\n" in told
    assert "would be removed too, as they may show one of these: previews/mosaic.png\n" in told
    assert etags(store) == before


@pytest.mark.parametrize(
    ("samples", "reason", "line"),
    [
        (["sub-000006"], WHY, "has no sample 'sub-000006'; expected one of sub-000000 to sub-0000"),
        (["x"], WHY, "has no sample 'x'"),
        (["sub-3"], WHY, "has no sample 'sub-3'.* did you mean sub-000003"),
        (["3"], WHY, "has no sample '3'.* did you mean sub-000003"),
        (["000003"], WHY, "has no sample '000003'.* did you mean sub-000003"),
        (["-1"], WHY, "has no sample '-1'"),
        (["sub-000003"], " \n", "--reason is empty"),
        (["sub-000003"], "x" * 501, "expected at most 500"),
        ([f"sub-{index:06d}" for index in range(N)], WHY, "no image would be left"),
    ],
    ids=[
        "one too many",
        "a word",
        "a short one",
        "a number",
        "no prefix",
        "a negative one",
        "no reason",
        "a long reason",
        "all of them",
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, samples: list[str], reason: str, line: str
) -> None:
    store = make_release(tmp_path, N)
    before = etags(store)
    with pytest.raises(ReleaseError, match=line) as caught:
        withdraw(Release.open(tmp_path), samples, reason, page=small_page)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert etags(store) == before


def test_where_there_is_no_release_or_a_part_of_one_nothing_is_withdrawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", N)
    assert main(["download", str(tmp_path / "r"), str(tmp_path / "d"), "--limit", "2"]) == 0
    assert main(["withdraw", str(tmp_path / "d"), "sub-000001", "--reason", WHY, "--yes"]) == 2
    assert "is a downloaded part of" in capsys.readouterr().err
    assert main(["withdraw", str(tmp_path / "x"), "sub-000001", "--reason", WHY, "--yes"]) == 2
    assert "no release there" in capsys.readouterr().err


def test_a_part_that_is_gone_is_not_made_up(tmp_path: Path) -> None:
    store: Store = make_release(tmp_path, N)
    store.delete("manifest/part-00000.parquet")
    with pytest.raises(ReleaseError, match=r"part-00000.parquet is missing") as caught:
        withdraws(tmp_path, "3")
    assert caught.value.exit_code == 1


def test_a_tombstone_keeps_its_place_its_types_and_its_first_reason() -> None:
    table = rows_table([row(index, image_bytes(index)) for index in range(3)], SCHEMA)
    buried = bury(table, {1: "first", 7: "not here"})
    assert buried.schema.equals(SCHEMA, check_metadata=True)
    assert bury(buried, {1: "second"}) is buried
    assert tombstones(buried) == {1: "first"}
    assert buried.slice(0, 1).equals(table.slice(0, 1))
    assert rows_table(buried.to_pylist(), SCHEMA).equals(buried)


def test_a_failed_sample_may_be_withdrawn_too(tmp_path: Path) -> None:
    store, plan = open_store(tmp_path), ShardPlan(N, 4)
    begin(store, plan)
    for shard in range(plan.count):
        write_shard(store, plan, shard, failed=[2])
    finalise(store, plan, document())
    assert not verify(Release.open(tmp_path)).ok
    withdraws(tmp_path, "2")
    assert verify(Release.open(tmp_path)).findings == []
    assert Release.open(tmp_path).about["counts"]["failed"] == 0


# ------------------------------------------------------------------------------ which are meant


def test_nobody_loses_an_image_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(tmp_path, N)
    before = etags(store)
    command = ["withdraw", str(tmp_path), "sub-000003", "--reason", WHY]
    assert main(command) == 2  # no terminal
    told = capsys.readouterr()
    assert f"would be removed: {image_path(3)}" in told.out
    assert "nothing was changed: nobody is at a terminal to be asked" in told.err
    for answer, code in (("\n", 1), ("no\n", 1), ("yes\n", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert etags(store) == before
        assert main(command) == code
    assert "sample 3 withdrawn from" in capsys.readouterr().out
    assert tombstones(Release.open(tmp_path).query()) == {3: WHY}


def test_many_are_named_by_a_filter_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 10)
    listed = tmp_path / "bad.tsv"
    listed.write_bytes(
        "\ufeffparticipant_id\tsex\r\n# by eye\r\n\r\nsub-000007\tF\r\nsub-000002\r\n".encode()
    )
    uri, why = str(tmp_path / "r"), ["--reason", WHY, "--yes"]
    assert main(["withdraw", uri, "sub-000001", "--file", str(listed), *why]) == 0
    assert tombstones(Release.open(uri).query()) == {1: WHY, 2: WHY, 7: WHY}
    assert main(["withdraw", uri, "--where", "index < 4", *why]) == 0
    assert "samples 0, 3 withdrawn from" in capsys.readouterr().out
    assert main(["withdraw", uri, "--where", "index < 4", *why]) == 2  # they are gone
    assert "no sample of" in capsys.readouterr().err
    assert verify(Release.open(uri)).findings == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no sample was named: give ids, --file or --where"),
        (["--where", "aeg > 3"], "aeg"),
        (["--file", "absent.txt"], "No such file"),
        (["--file", "empty.txt"], "no id in it"),
        (["--file", "short.txt"], "has no sample 'sub-3'"),
        (["--file", "image.bin"], "no text file"),
    ],
    ids=["none", "filter", "absent", "empty", "inexact", "binary"],
)
def test_what_names_nobody_is_told_in_one_line(
    tmp_path: Path,
    words: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_release(tmp_path / "r", 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nobody\n")
    (tmp_path / "short.txt").write_text("sub-3\n")
    (tmp_path / "image.bin").write_bytes(b"\x1f\x8b\xff\xfe")
    before = etags(store)
    assert main(["withdraw", str(tmp_path / "r"), *words, "--reason", WHY, "--yes"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told
    assert etags(store) == before


def test_a_withdrawal_by_filter_that_was_interrupted_goes_on_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readers are told already that those samples are gone, and the filter finds no more."""
    make_release(tmp_path, N)
    monkeypatch.setattr(Holder, "is_gone", True)
    samples = [participant_id(index) for index in range(2)]
    dies_once_decided(tmp_path, lambda store: withdraw(Release.at(store), samples, WHY))
    assert (tmp_path / image_path(0)).is_file()
    command = ["withdraw", str(tmp_path), "--where", "index < 2", "--reason", WHY, "--yes"]
    assert main(command) == 0
    assert "samples 0-1 withdrawn from" in capsys.readouterr().out
    assert not (tmp_path / image_path(0)).exists()
    assert tombstones(Release.open(tmp_path).query()) == {0: WHY, 1: WHY}
    assert verify(Release.open(tmp_path)).findings == []
