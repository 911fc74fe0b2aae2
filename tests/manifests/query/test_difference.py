"""`brainpress diff`: two versions of a release, two releases, and a version read and verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from manifests import Volumes
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.metadata.staging import write_release
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.withdrawal import withdraw
from manifests.query.difference import IMAGE, Difference, compare
from manifests.query.release import Release
from manifests.storage.local import LocalStore
from manifests.verify import verify
from ray_jobs.cli import main
from tests.manifests.publish.test_kill import small_page
from tests.manifests.releases import begin, document, make_release, write_shard


def publishes(uri: str | Path, **options: Any) -> None:
    wanted: dict[str, Any] = {"license": "CC-BY-4.0", "date": "2026-11-23", "authors": ("A",)}
    publish(Release.open(uri), PublishOptions(**{**wanted, **options}), page=small_page)


@pytest.fixture
def grown(place: str) -> str:
    """1.0.0 of 6 samples; 1.1.0 of 8, one of the first withdrawn, under another name."""
    store, plan = make_release(place, 6), ShardPlan(8, 4)
    publishes(place)
    begin(store, plan)
    for shard in Ledger(store).pending(plan):
        write_shard(store, plan, shard)
    finalise(store, plan, document())
    withdraw(Release.open(place), ["sub-000002"], "bad", page=small_page)
    publishes(place, name="Others")
    return place


def test_two_versions_differ_by_what_was_added_and_withdrawn(
    grown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", grown, "--from", "1.0.0", "--to", "1.1.0"]) == 1
    told = capsys.readouterr().out
    assert "added      2 samples (6-7)" in told
    assert "withdrawn  1 sample (2)\n  sample 2: bad" in told
    assert "name: Others, was Tiny synthetic brains" in told
    assert "changed" not in told
    assert main(["diff", grown, "--from", "1.0.0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["equal"], found["added"], found["withdrawn"]) == (False, [6, 7], {"2": "bad"})
    assert main(["diff", grown, "--from", "1.1.0"]) == 0
    assert "the same" in capsys.readouterr().out


def test_an_earlier_version_is_verified_and_read(
    grown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", grown, "--release-version", "1.0.0"]) == 0
    assert "all is well: 5 images" in capsys.readouterr().out
    assert [len(Volumes(grown, version=v)) for v in ("1.0.0", "1.1.0", None)] == [5, 7, 7]
    release = Release.open(grown, version="1.0.0")
    key = release.query("index = 3")["path"][0].as_py()
    release.place.delete(key)
    codes = [(f.code, f.key) for f in verify(Release.open(grown, version="1.0.0")).findings]
    assert codes == [("image-missing", key)]


def test_a_changed_file_of_a_version_is_found(tmp_path: Path) -> None:
    make_release(tmp_path, 2)
    publishes(tmp_path)
    readme = tmp_path / "versions" / "1.0.0" / "README.md"
    readme.write_text(readme.read_text() + "more")
    report = verify(Release.open(tmp_path, version="1.0.0"))
    assert [(f.code, f.key) for f in report.findings] == [("file-changed", "README.md")]


def other(folder: Path, table: pa.Table, **changes: Any) -> Release:
    write_release(LocalStore(folder), table, document(**changes))
    return Release.open(folder)


def test_two_releases_differ_by_images_covariates_columns_and_making(tmp_path: Path) -> None:
    make_release(tmp_path / "a", 4, failed=[1])
    first = Release.open(tmp_path / "a")
    rows = first.query().to_pylist()
    rows[0]["sha256"], rows[3]["age"] = "0" * 64, 81.0
    rows[2]["quality_foreground_fraction"] = None
    second = other(tmp_path / "b", pa.Table.from_pylist(rows, first.schema), seed=8)
    found = compare(first, second)
    assert found == Difference(
        changed={0: [IMAGE], 2: ["quality_foreground_fraction"], 3: ["age"]},
        terms=["seed: another"],
    )
    assert compare(first, first).none
    assert compare(first, Release.open(tmp_path / "a")).to_json()["equal"] is True
    bare = other(
        tmp_path / "c",
        first.query(columns=document(quality=()).schema.names)[:3].cast(
            document(quality=()).schema
        ),
        quality=(),
    )
    assert compare(first, bare) == Difference(removed=[3], columns=["-quality_foreground_fraction"])


def test_what_is_no_number_in_both_is_the_same(tmp_path: Path) -> None:
    make_release(tmp_path / "a", 2)
    rows = Release.open(tmp_path / "a").query().to_pylist()
    rows[0]["quality_foreground_fraction"] = float("nan")
    schema = document().schema
    one, two = (other(tmp_path / name, pa.Table.from_pylist(rows, schema)) for name in ("b", "c"))
    assert compare(one, two).none


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["r"], "r is compared with itself"),
        (["r", "r", "--from", "1.0.0", "--to", "1.0.0"], "is compared with itself"),
        (["r", "--from", "3.0.0"], "has no version 3.0.0; its versions: 1.0.0"),
        (["r", "nothing"], "no release there"),
        (["r", "broken"], "is damaged"),
    ],
)
def test_what_cannot_be_told_is_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_release("r", 2)
    publishes("r")
    about = json.loads(Path("r/release.json").read_text())
    Path("broken").mkdir()
    Path("broken/release.json").write_text(json.dumps({**about, "seed": "x"}))
    assert main(["diff", *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
