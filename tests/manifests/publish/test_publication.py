"""Publishing: checked first, stamped, kept by version; nothing new writes nothing."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from manifests.digests import sha256
from manifests.format.layout import CROISSANT_KEY, image_path
from manifests.format.release_json import read_release
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.ledger.status import read_status
from manifests.publish.checks import UnchosenLicenseError
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import Publication, publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.storage.local import LocalStore
from manifests.verify import verify
from ray_jobs.cli import main
from ray_jobs.status import describe
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.publish.test_kill import small_page
from tests.manifests.releases import begin, document, image_bytes, make_release, write_shard

N, DAY, LAB = 6, "2026-11-23", ("A. Lab",)
KEPT = {"release.json", "manifest.parquet", "participants.tsv", "CHANGES", "README.md", "LICENSE"}


def publishes(uri: str | Path, *, dry_run: bool = False, **options: Any) -> Publication:
    wanted = {"license": "CC-BY-4.0", "date": DAY, "authors": LAB, **options}
    return publish(Release.open(uri), PublishOptions(**wanted), dry_run=dry_run, page=small_page)


def etags(store: Store) -> dict[str, str]:
    return {entry.key: entry.etag for entry in store.list()}


def grow(uri: str | Path, n: int, **changes: Any) -> None:
    """What `generate` does with a larger --n."""
    store, plan = open_store(uri), ShardPlan(n, 4)
    begin(store, plan)
    for shard in Ledger(store).pending(plan):
        write_shard(store, plan, shard)
    finalise(store, plan, document(**changes), extra={"previews/mosaic.png": b"\x89PNG"})


def test_a_published_release_says_its_version_wherever_one_looks(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    done = publishes(
        tmp_path, authors=("A. Lab", "B. Lab"), name="Brains", url="https://b.example/r/"
    )
    assert (done.version, done.date, done.new) == ("1.0.0", DAY, True)
    about = read_release(store)
    assert about["published"]["version"] == "1.0.0"
    assert about["published"]["date"] == about["date"] == DAY
    assert (about["name"], about["license"]) == ("Brains", "CC-BY-4.0")
    assert about["chosen"] == ["authors", "license", "name"]
    assert store.get("CHANGES").decode() == f"1.0.0 {DAY}\n  - {N} synthetic volumes, seed 7\n"
    citation = store.get("CITATION.cff").decode()
    for line in ('version: "1.0.0"', f'date-released: "{DAY}"', 'url: "https://b.example/r/"'):
        assert f"\n{line}\n" in citation
    assert f"Version 1.0.0 of {DAY}" in store.get("README.md").decode()
    assert b"CC-BY-4.0" in store.get("LICENSE")
    for key, digest in about["files"].items():
        assert sha256(store.get(key)) == digest
    assert "index.html" in about["files"]
    kept = {key.removeprefix("versions/1.0.0/") for key in about["files"] if "versions" in key}
    assert kept == KEPT
    assert verify(Release.open(tmp_path)).findings == []


def test_the_real_page_is_part_of_it_and_every_tool_still_reads_it(tmp_path: Path) -> None:
    make_release(tmp_path / "r", N)
    options = PublishOptions(license="CC-BY-4.0", date=DAY, authors=LAB)
    for step in ("publish", "withdraw"):
        if step == "publish":
            publish(Release.open(tmp_path / "r"), options)
        else:
            withdraw(Release.open(tmp_path / "r"), ["sub-000002"], "no cerebellum")
            assert b"sub-000002" not in (tmp_path / "r" / "index.html").read_bytes()
        about = read_release(open_store(tmp_path / "r"))
        assert {"index.html", "previews/contact-sheet.png"} <= set(about["files"])
        assert verify(Release.open(tmp_path / "r")).findings == []
        assert bids_errors(str(tmp_path / "r")) == ""
        dataset = mlcroissant.Dataset(jsonld=tmp_path / "r" / CROISSANT_KEY)
        assert not dataset.metadata.issues.errors
        assert not dataset.metadata.issues.warnings
        assert len(list(dataset.records(record_set="manifest"))) == N


def test_publishing_again_writes_nothing(place: str) -> None:
    store = make_release(place, N)
    publishes(place)
    before = etags(store)
    again = publishes(place, license=None, date="2027-01-01")
    assert (again.new, again.written, again.version, again.date) == (False, [], "1.0.0", DAY)
    assert etags(store) == before


def test_a_release_that_does_not_verify_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, N)
    store.put(image_path(1), image_bytes(1)[:-7])
    before = etags(store)
    assert (
        main(["publish", str(tmp_path), "--license", "CC0-1.0", "--author", "A. Lab", "--private"])
        == 1
    )
    told = capsys.readouterr()
    assert f"error image-size {image_path(1)}" in told.err
    assert "does not verify (2 errors); nothing was written" in told.err
    assert told.out == ""
    assert etags(store) == before


def test_samples_that_failed_are_no_part_of_a_published_release_until_withdrawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path, N, failed=[2])
    assert main(["publish", str(tmp_path), "--license", "CC0-1.0", "--author", "A. Lab"]) == 1
    assert "brainpress withdraw" in capsys.readouterr().err
    assert (
        main(["withdraw", str(tmp_path), "sub-000002", "--reason", "no draw passed", "--yes"]) == 0
    )
    assert publishes(tmp_path).new
    assert verify(Release.open(tmp_path)).findings == []


def test_a_release_that_grew_is_a_new_version_and_the_earlier_one_stays(place: str) -> None:
    make_release(place, N)
    publishes(place, authors=("A. Lab",))
    first = {k: v for k, v in everything(open_store(place)).items() if k.startswith("versions/")}
    grow(place, 9)
    between = Release.open(place)
    assert verify(between).findings == []
    assert (between.document.license, between.document.authors) == ("CC-BY-4.0", ("A. Lab",))
    assert b"grown by 3 samples since version 1.0.0" in between.store.get("README.md")
    assert b"\nversion:" not in between.store.get("CITATION.cff")
    status = read_status(open_store(place))
    assert "grown by 3 samples since version 1.0.0 was published: run" in describe(status)

    done = publishes(place, license=None, changes="More of them.")
    assert (done.version, done.changes) == (
        "1.1.0",
        ("More of them.", "3 samples added (6-8), 9 in all"),
    )
    now = everything(open_store(place))
    assert first.items() <= now.items()
    assert now["CHANGES"].decode() == (
        f"1.1.0 {DAY}\n  - More of them.\n  - 3 samples added (6-8), 9 in all\n\n"
        f"1.0.0 {DAY}\n  - {N} synthetic volumes, seed 7\n"
    )
    assert verify(Release.open(place)).findings == []
    assert "published version 1.1.0" in describe(read_status(open_store(place)))

    old = Release.open(place, version="1.0.0")
    assert old.query().num_rows == old.about["counts"]["samples"] == N
    assert old.sql("SELECT count(*) AS n FROM manifest")["n"].to_pylist() == [N]
    assert Release.open(place, version="1.1.0").query().num_rows == 9
    assert Release.open(place).query().num_rows == 9


def test_generate_again_leaves_a_published_release_as_it_is(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    publishes(tmp_path)
    before = everything(store)
    make_release(tmp_path, N)
    assert everything(store) == before


def test_what_generate_is_told_anew_holds_and_the_rest_stays(tmp_path: Path) -> None:
    make_release(tmp_path, 4)
    grow(tmp_path, 5, license="CC0-1.0", chosen=("license",))
    grow(tmp_path, 6, authors=("C",), chosen=("authors",))
    about = Release.open(tmp_path).document
    assert (about.license, about.authors, about.chosen) == (
        "CC0-1.0",
        ("C",),
        ("authors", "license"),
    )


def test_other_terms_are_another_version(tmp_path: Path) -> None:
    make_release(tmp_path, N)
    publishes(tmp_path)
    assert publishes(tmp_path, authors=("B. Lab",)).version == "1.0.1"
    done = publishes(tmp_path, license="CC0-1.0", authors=())
    assert (done.version, done.changes) == ("1.1.0", ("licence: CC0-1.0, was CC-BY-4.0",))
    assert Release.open(tmp_path, version="1.0.1").document.license == "CC-BY-4.0"
    assert publishes(tmp_path, license=None, authors=(), version="2.0.0").changes == (
        "no change of the data",
    )
    with pytest.raises(ValueError, match=r"version 1\.9\.0 is lower than 2\.0\.0"):
        publishes(tmp_path, license=None, authors=(), version="1.9.0")
    with pytest.raises(ValueError, match=r"version 2\.0\.0 is of 2026-11-23"):
        publishes(tmp_path, license=None, authors=(), version="2.0.1", date="2026-11-22")
    assert verify(Release.open(tmp_path)).findings == []


def test_a_version_is_read_by_every_verb_that_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", N)
    publishes(tmp_path / "r")
    withdraw(Release.open(tmp_path / "r"), ["sub-000004"], "bad", page=small_page)
    grow(tmp_path / "r", 9)
    publishes(tmp_path / "r")
    there, then = str(tmp_path / "r"), ["--release-version", "1.0.0"]
    assert main(["info", there, *then]) == 0
    told = capsys.readouterr().out
    assert f"version      1.0.0 of {DAY}\n" in told
    assert "images       5, 1 withdrawn" in told
    assert main(["query", there, "--where", "index > 3", "--format", "csv", *then]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["4", "5"]
    assert main(["download", there, str(tmp_path / "d"), *then]) == 0
    taken = Release.open(tmp_path / "d")
    assert taken.query(columns=["index"])["index"].to_pylist() == [0, 1, 2, 3, 5]
    assert verify(taken).findings == []
    assert bids_errors(str(tmp_path / "d")) == ""
    capsys.readouterr()
    assert main(["info", str(tmp_path / "d")]) == 0
    assert f"version      1.0.0 of {DAY}\n" in capsys.readouterr().out
    shards = ["shards", there, "--out", str(tmp_path / "s"), *then]
    assert main(shards) == 0
    assert capsys.readouterr().out.startswith("5 images in 1 shards")
    withdraw(Release.open(tmp_path / "r"), ["sub-000005"], "bad", page=small_page)
    assert main(shards) == 2
    assert "withdrawn" in capsys.readouterr().err
    assert main(["info", there, "--release-version", "1.0.7"]) == 2
    assert "no version 1.0.7; its versions: 1.1.0, 1.0.0" in capsys.readouterr().err


def test_a_version_that_was_tampered_with_is_not_read(tmp_path: Path) -> None:
    store = make_release(tmp_path, N)
    publishes(tmp_path)
    key = "versions/1.0.0/release.json"
    store.put(key, store.get(key).replace(b"CC-BY-4.0", b"CC0-1.0"))
    with pytest.raises(ValueError, match=r"is not the file that release\.json names"):
        Release.open(tmp_path, version="1.0.0")
    assert "file-changed" in {finding.code for finding in verify(Release.open(tmp_path)).findings}


def test_a_viewer_of_one_s_own_stays_with_the_release(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 3)
    bundle = tmp_path / "niivue.umd.js"
    bundle.write_text("var niivue = {};")
    day: dict[str, Any] = {"license": "CC0-1.0", "date": DAY, "authors": LAB}
    publish(Release.open(tmp_path / "r"), PublishOptions(**day, viewer=str(bundle)))
    bundle.unlink()
    assert publish(Release.open(tmp_path / "r"), PublishOptions(date=DAY)).written == []
    withdraw(Release.open(tmp_path / "r"), ["sub-000001"], "bad")
    assert (tmp_path / "r" / "page" / "niivue.umd.js").read_text() == "var niivue = {};"
    other = publish(
        Release.open(tmp_path / "r"), PublishOptions(date=DAY, viewer="https://cdn.example/n.js")
    )
    assert other.removed == ["page/niivue.umd.js"]
    assert publish(Release.open(tmp_path / "r"), PublishOptions(date=DAY)).written == []
    assert verify(Release.open(tmp_path / "r")).findings == []


# ------------------------------------------------------------------------------- the licence


def test_without_a_licence_that_somebody_chose_one_line_names_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n"))  # no terminal: nobody is asked
    store = make_release(tmp_path, 2)
    before = etags(store)
    assert main(["publish", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody chose a licence for this release (its model's card names CC0-1.0)" in line
    assert "--license: CC0-1.0, CC-BY-4.0, " in line
    assert etags(store) == before
    with pytest.raises(UnchosenLicenseError):
        publishes(tmp_path, license=None)
    assert main(["publish", str(tmp_path), "--license", "CC-BY", "--author", "A. Lab"]) == 2
    assert "did you mean CC-BY-4.0?" in capsys.readouterr().err
    assert main(["publish", str(tmp_path), "--license", "CC0-1.0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "whom to cite for this release; name people or a group with --author, such as" in line
    assert etags(store) == before


def test_a_person_at_a_terminal_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    make_release(tmp_path, 2)
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    assert main(["publish", str(tmp_path)]) == 2
    monkeypatch.setattr(sys, "stdin", Terminal("2\n\n"))
    assert main(["publish", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "nobody was named; once more" in told
    assert told.endswith("no answer; nothing was written\n")
    monkeypatch.setattr(sys, "stdin", Terminal("2\nA. Person; B. Lab\n"))
    assert main(["publish", str(tmp_path)]) == 0
    assert "  2  CC-BY-4.0 " in capsys.readouterr().err
    about = Release.open(tmp_path).document
    assert (about.license, about.authors) == ("CC-BY-4.0", ("A. Person", "B. Lab"))
    assert "brainpress authors" not in (tmp_path / "CITATION.cff").read_text()


def test_a_licence_that_generate_was_told_is_chosen(tmp_path: Path) -> None:
    store, plan = open_store(tmp_path), ShardPlan(2, 4)
    begin(store, plan)
    write_shard(store, plan, 0)
    finalise(store, plan, document(license="CC0-1.0", chosen=("license",)))
    assert publishes(tmp_path, license=None).new
    assert Release.open(tmp_path).document.license == "CC0-1.0"


def test_privately_the_model_s_licence_will_do(tmp_path: Path) -> None:
    make_release(tmp_path, 2)
    assert publishes(tmp_path, license=None, private=True).new
    assert Release.open(tmp_path).document.license == "CC-BY-SA-3.0"


# -------------------------------------------------------------------------------- what cannot be


def test_a_dry_run_says_everything_and_writes_nothing(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(place, N)
    before = etags(store)
    assert (
        main(
            [
                "publish",
                place,
                "--license",
                "CC0-1.0",
                "--author",
                "A. Lab",
                "--dry-run",
                "--date",
                DAY,
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert f"version 1.0.0 of {DAY} would be published" in told
    assert "files would be written: .bidsignore, .zenodo.json, CHANGES" in told
    assert ("s3:ListBucket" in told) == place.startswith("s3://")
    assert etags(store) == before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--release-version", "1.0"], "expected MAJOR.MINOR.PATCH"),
        (["--date", "yesterday"], "expected YYYY-MM-DD"),
        (["--author", ""], "expected a name"),
        (["--viewer", "ftp://x"], "expected a plain https"),
    ],
    ids=["version", "date", "author", "viewer"],
)
def test_wrong_options_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    store = make_release(tmp_path, 2)
    before = etags(store)
    assert (
        main(["publish", str(tmp_path), "--license", "CC0-1.0", "--author", "A. Lab", *options])
        == 2
    )
    assert line in capsys.readouterr().err
    assert etags(store) == before


def test_a_release_that_is_being_made_larger_waits_for_generate(tmp_path: Path) -> None:
    make_release(tmp_path, N)
    begin(open_store(tmp_path), ShardPlan(20, 4))
    with pytest.raises(ValueError, match="20 samples were asked for, and the release has 6") as e:
        publishes(tmp_path)
    assert e.value.exit_code == 1  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="run its `generate` again, then withdraw"):
        withdraw(Release.open(tmp_path), ["sub-000001"], "bad")


def test_only_a_release_itself_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", N)
    assert main(["download", str(tmp_path / "r"), str(tmp_path / "d"), "--limit", "2"]) == 0
    with pytest.raises(ValueError, match="is a downloaded part of"):
        publishes(tmp_path / "d")
    assert main(["publish", str(tmp_path / "nothing")]) == 2
    assert "no release there" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path, 2)

    def refuse(store: LocalStore) -> None:
        raise ValueError("cannot write to it")

    monkeypatch.setattr(LocalStore, "check_writable", refuse)
    monkeypatch.setattr(
        "manifests.publish.publication.verify", lambda *_, **__: pytest.fail("read")
    )
    with pytest.raises(ValueError, match="cannot write to it"):
        publishes(tmp_path)


def test_a_stranger_s_release_json_with_absurd_versions_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 2)
    about = json.loads(store.get("release.json"))
    for absurd in ({"versions": 3}, [1], {"versions": [{"changes": []}]}):
        store.put("release.json", json.dumps({**about, "published": absurd}).encode())
        assert main(["info", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "release.json is damaged" in line
