"""A release that carries its evaluation: published with it, read, grown, withdrawn from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from manifests.changes.holder import Holder
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.evaluation import FAILED, INCONCLUSIVE, Evaluation
from manifests.format.layout import CROISSANT_KEY, MEASURED_KEY, participant_id
from manifests.format.measured import MEASURES, PREFIX
from manifests.format.release_json import read_release
from manifests.publish.evaluation import IMAGES_KEY, images_file
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import Publication, publish
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.verify import verify
from manifests.volumes.download import download
from ray_jobs.cli import main
from tests.manifests.dying_store import Died, DyingStore
from tests.manifests.evaluations import WHY, evaluate, evaluation
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.publish.test_kill import small_page
from tests.manifests.publish.test_publication import etags, grow
from tests.manifests.releases import make_release

N, DAY, LAB = 6, "2026-11-23", ("A. Lab",)
CARRIED = {f"evaluation/{name}" for name in ("evaluation.json", "privacy.png", "report.html")} | {
    "evaluation/report.md",
    MEASURED_KEY,
}


def publishes(uri: str | Path, folder: Path | None, **options: Any) -> Publication:
    wanted = {"license": "CC-BY-4.0", "date": DAY, "evaluation": folder, "authors": LAB, **options}
    done = publish(Release.open(uri), PublishOptions(**wanted), page=small_page)
    assert done.report.ok, done.report.findings
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release `r` published with its evaluation `e`, in which one image was refused."""
    folder = tmp_path_factory.mktemp("made")
    make_release(folder / "r", N)
    publishes(folder / "r", evaluate(folder / "e", folder / "r", refused=(4,)))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def findings(uri: Path) -> list[Any]:
    return verify(Release.open(uri)).findings


def test_a_release_carries_table_report_figures_and_verdict(folder: Path) -> None:
    release = Release.open(folder / "r")
    assert findings(folder / "r") == []
    files = set(release.about["files"])
    assert files >= CARRIED
    assert "evaluation/volumes.png" not in files  # of real people
    card = (folder / "r" / "README.md").read_text()
    assert "5 of its 6 images, against 75 real people. 1 image could not be measured" in card
    assert "| ventricles, correlation | 0.951 (0.94 to 0.962) | 6 |" in card
    assert "share \\<script\\>" in card
    assert "privacy audit found nothing. Its rule: no synthetic volume is a near-copy" in card
    assert "(evaluation/report.html)" in card
    assert "is not measured in this release" not in card
    assert bids_errors(str(folder / "r")) == ""


def test_in_a_bucket_it_is_the_same(bucket: str, tmp_path: Path) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 3)
    publishes(uri, evaluate(tmp_path / "e", uri, limit=2))
    release = Release.open(uri)
    assert verify(release).findings == []
    rows = release.sql("SELECT index FROM manifest SEMI JOIN measured USING (index)")
    assert rows["index"].to_pylist() == release.measured()["index"].to_pylist() == [0, 1]
    assert b"neither measured nor audited" in release.store.get("README.md")


def test_the_same_evaluation_again_changes_nothing_and_another_is_a_patch(folder: Path) -> None:
    store = open_store(folder / "r")
    before = etags(store)
    assert publishes(folder / "r", folder / "e").written == []
    assert publishes(folder / "r", None).written == []
    assert etags(store) == before
    done = publishes(folder / "r", evaluate(folder / "e2", folder / "r", report="better"))
    assert (done.version, done.changes) == (
        "1.0.1",
        ("new evaluation, of 6 images; its privacy audit passed",),
    )
    assert findings(folder / "r") == []
    first, now = Release.open(folder / "r", version="1.0.0"), Release.open(folder / "r")
    assert first.measured()["error"].to_pylist()[4] == "no brain"
    assert now.measured()["error"].null_count == N
    assert b"better" not in first.store.get("evaluation/report.html")


def test_a_release_of_its_own_without_evaluation_says_so(tmp_path: Path) -> None:
    make_release(tmp_path, 2)
    with pytest.raises(ReleaseError, match=r"has no measured\.parquet: .* publish --evaluation"):
        Release.open(tmp_path).measured()
    with pytest.raises(ReleaseError, match=r"the only table is manifest"):
        Release.open(tmp_path).sql("SELECT * FROM measured")


def publishing(uri: str, evaluated: Path) -> list[str]:
    words = ["publish", uri, "--license", "CC0-1.0", "--author", "A. Lab"]
    return [*words, "--evaluation", str(evaluated)]


def test_a_failed_audit_is_refused_unless_told_in_so_many_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "r")
    store = make_release(uri, N)
    failed = evaluate(tmp_path / "e", uri, verdict=FAILED)
    before = etags(store)
    command = publishing(uri, failed)
    assert main(command) == 1
    told = capsys.readouterr().err
    assert f"privacy audit failed: {WHY}. Nothing was written" in told
    assert told.count("\n") == 1
    assert etags(store) == before
    assert main([*command, "--despite-failed-audit"]) == 0
    card = store.get("README.md").decode()
    assert "The privacy audit of this release **FAILED**" in card
    assert f"**It was published in spite of that:**\n\n- {WHY}" in card
    page = store.get("index.html").decode()
    assert '<dt>Privacy audit</dt><dd><a href="evaluation/report.html">FAILED</a>' in page
    assert findings(tmp_path / "r") == []
    with pytest.raises(ReleaseError, match="--despite-failed-audit goes with --evaluation"):
        PublishOptions(date=DAY, despite_failed_audit=True)


def test_an_inconclusive_audit_is_refused_like_a_failed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "r")
    store = make_release(uri, N)
    unclear = evaluate(tmp_path / "e", uri, verdict=INCONCLUSIVE)
    command = publishing(uri, unclear)
    assert main(command) == 1
    told = capsys.readouterr().err
    assert f"privacy audit was inconclusive: {WHY}. Nothing was written; evaluate more" in told
    assert main([*command, "--despite-failed-audit"]) == 0
    card = store.get("README.md").decode()
    assert "The privacy audit was inconclusive: whether any shows a person" in card
    assert "of this release was **inconclusive**" in card
    assert '">inconclusive</a>' in store.get("index.html").decode()
    told_of = Release.open(uri).document.evaluation
    assert told_of is not None
    assert told_of == evaluation(
        Release.open(uri), verdict=INCONCLUSIVE, reasons=(WHY,), sha256=told_of.sha256
    )


def test_an_evaluation_that_saw_other_images_is_refused(folder: Path) -> None:
    """Made anew on another device, say: an audit speaks of the images that it saw alone."""
    other = evaluate(folder / "o", folder / "r")
    seen = images_file(dict.fromkeys(range(N), "0" * 64))
    (other / IMAGES_KEY).write_bytes(seen)
    about = json.loads((other / "evaluation.json").read_text())
    about["files"][IMAGES_KEY] = sha256(seen)
    (other / "evaluation.json").write_text(json.dumps(about))
    with pytest.raises(ReleaseError, match=r"saw other images: 6 of .* sample 0 among them"):
        publishes(folder / "r", other)


def test_the_verdict_of_an_older_release_is_read(made: Path) -> None:
    about = read_release(open_store(made / "r"))
    older = {k: v for k, v in about["evaluation"].items() if k != "verdict"}
    found = Release(open_store(made / "r"), {**about, "evaluation": older}).document.evaluation
    assert found is not None
    assert found.verdict == "passed"


def test_an_evaluation_of_anything_else_is_refused_in_one_line(folder: Path) -> None:
    other = {"label": "r", "fingerprint": "e" * 64, "evaluation": None}
    told = json.loads((folder / "e" / "evaluation.json").read_text())["release"]
    more = {**told, "evaluation": {**told["evaluation"], "samples": 9}}
    fewer = {**told, "evaluation": {**told["evaluation"], "images": 5, "measured": 5, "refused": 0}}
    cases = {
        r"of another release: fingerprint 'eeeeee": {**told, "fingerprint": "e" * 64},
        "is of 9 samples, .* has 6": more,
        "has 6 rows or columns": fewer,
        "evaluation.json is damaged": other,
    }
    for number, (line, about) in enumerate(cases.items()):
        wrong = evaluate(folder / str(number), folder / "r", release=about)
        with pytest.raises(ReleaseError, match=line):
            publishes(folder / "r", wrong)
    fewer["evaluation"] = {**fewer["evaluation"], "images": 5}
    part = evaluate(folder / "part", folder / "r", limit=5, release=fewer)
    with pytest.raises(ReleaseError, match=r"of 5 images, and among the first 6 samples .* are 6"):
        publishes(folder / "r", part)


def test_a_folder_that_is_no_whole_evaluation_is_refused_in_one_line(folder: Path) -> None:
    cases = {
        "measured.parquet was changed since": lambda e: (e / MEASURED_KEY).write_bytes(b"x"),
        "public/report.md cannot be read": lambda e: (e / "public/report.md").unlink(),
        "is of an earlier brainpress": lambda e: (e / "evaluation.json").write_text(
            '{"format": "brainpress-evaluation"}'
        ),
        "broken is of an earlier brainpress": lambda e: (e / "evaluation.json").write_text(
            (e / "evaluation.json").read_text().replace(IMAGES_KEY, "report.md")
        ),
        "no evaluation.json there": lambda e: (e / "evaluation.json").unlink(),
        "'../../secret' is no file of a report": lambda e: (e / "evaluation.json").write_text(
            (e / "evaluation.json").read_text().replace("public/report.md", "../../secret")
        ),
    }
    for line, act in cases.items():
        shutil.rmtree(folder / "broken", ignore_errors=True)
        act(evaluate(folder / "broken", folder / "r"))
        with pytest.raises(ReleaseError, match=line):
            publishes(folder / "r", folder / "broken")


def test_of_withdrawn_samples_no_measure_survives(folder: Path) -> None:
    withdraw(Release.open(folder / "r"), ["sub-000002"], "no cerebellum", page=small_page)
    release = Release.open(folder / "r")
    assert release.measured()["index"].to_pylist() == [0, 1, 3, 4, 5]
    assert findings(folder / "r") == []
    assert "1 of the images was withdrawn since" in (folder / "r" / "README.md").read_text()
    first = Release.open(folder / "r", version="1.0.0")
    assert first.measured()["index"].to_pylist() == [0, 1, 3, 4, 5]
    # An evaluation of the day before still has the row; publish leaves it out.
    assert not publishes(folder / "r", folder / "e").changes[0].startswith("new evaluation")
    assert Release.open(folder / "r").measured()["index"].to_pylist() == [0, 1, 3, 4, 5]
    assert findings(folder / "r") == []


def test_growth_without_an_evaluation_is_told_on_the_card(folder: Path) -> None:
    grow(folder / "r", 9)
    for step in ("grown", "published"):
        card = (folder / "r" / "README.md").read_text()
        assert "was evaluated when it had 6 samples" in card
        assert "of the 3 samples that came later nothing is measured" in card
        assert findings(folder / "r") == []
        assert set(read_release(open_store(folder / "r"))["files"]) >= CARRIED
        if step == "grown":
            assert publishes(folder / "r", None).version == "1.1.0"
    assert publishes(folder / "r", evaluate(folder / "e9", folder / "r")).version == "1.1.1"
    assert "came later" not in (folder / "r" / "README.md").read_text()


def test_sql_joins_what_was_asked_and_what_was_measured(folder: Path) -> None:
    release = Release.open(folder / "r")
    text = "SELECT m.index, m.age, x.measured_age FROM manifest m JOIN measured x USING (index)"
    rows = release.sql(f"{text} WHERE x.error IS NULL ORDER BY index").to_pylist()
    measured = release.measured(columns=["index", "measured_age"]).to_pylist()
    asked = release.query(columns=["index", "age"]).to_pylist()
    assert rows == [a | m for a, m in zip(asked, measured, strict=True) if a["index"] != 4]
    with pytest.raises(ReleaseError, match="tables are manifest and measured"):
        release.sql("SELECT * FROM elsewhere")
    with pytest.raises(ReleaseError, match="columns of measured are index, participant_id, measu"):
        release.sql("SELECT measured_ages FROM measured")


def test_filters_and_columns_take_measures_too(folder: Path) -> None:
    uri = folder / "r"
    release = Release.open(uri)
    ages = release.measured()["measured_age"].to_pylist()
    above = sorted(age for age in ages if age is not None)[2]
    wanted = [i for i, age in enumerate(ages) if age is not None and age > above]
    where = f"MEASURED_AGE > {above} and age > 0"
    rows = release.query(where, columns=["participant_id", "measured_age"], limit=9)
    assert rows.to_pydict() == {
        "participant_id": [participant_id(i) for i in wanted],
        "measured_age": [ages[i] for i in wanted],
    }
    assert release.query(where).schema == release.schema
    assert download(release, folder / "part", where=where).fetched == len(wanted)
    unmeasured = release.query("measured_age is null", columns=["index"])
    assert unmeasured["index"].to_pylist() == [4]


def test_a_query_that_does_not_mention_the_measures_does_not_read_them(folder: Path) -> None:
    (folder / "r" / MEASURED_KEY).unlink()
    release = Release.open(folder / "r")
    assert release.query("age > 0", columns=["index"]).num_rows == N
    assert release.sql("SELECT count(*) AS n FROM manifest").to_pylist() == [{"n": N}]
    with pytest.raises(ReleaseError, match=r"measured\.parquet is missing"):
        release.sql("SELECT count(measured_age) FROM measured")


def test_a_download_brings_the_measures_of_its_images(folder: Path) -> None:
    for limit in (2, 5):
        download(Release.open(folder / "r"), folder / "part", limit=limit)
        part = Release.open(folder / "part")
        assert part.measured()["index"].to_pylist() == list(range(limit))
        assert findings(folder / "part") == []
    assert not (folder / "part" / "evaluation").exists()
    card = (folder / "part" / "README.md").read_text()
    assert "The release that this is a part of was evaluated when it had 6 samples" in card
    assert "(evaluation/report.html)" not in card


def test_croissant_has_the_measures_as_records_of_their_own(folder: Path) -> None:
    dataset = mlcroissant.Dataset(jsonld=folder / "r" / CROISSANT_KEY)
    assert not dataset.metadata.issues.errors
    assert not dataset.metadata.issues.warnings
    records = list(dataset.records(record_set="measured"))
    assert [record["measured/index"] for record in records] == list(range(N))


def test_the_page_draws_measured_beside_asked_and_links_the_report(folder: Path) -> None:
    options = PublishOptions(date=DAY, evaluation=folder / "e")
    publish(Release.open(folder / "r"), options)
    columns = json.loads((folder / "r" / "page" / "columns.json").read_text())["columns"]
    shows = {c["name"]: c["shows"] for c in columns if c["role"] == "measured"}
    assert set(shows) == {PREFIX + measure.name for measure in MEASURES}
    told = {name: partner for name, partner in shows.items() if partner}
    assert told == {
        "measured_age": "age",
        "measured_ventricular_volume": "ventricular_volume",
    }
    page = (folder / "r" / "index.html").read_text()
    assert page.count('<a href="evaluation/report.html">') == 2
    assert "measured on the image" in page


def test_what_release_json_tells_of_an_evaluation_may_be_anybodys(made: Path) -> None:
    about = read_release(open_store(made / "r"))
    evaluation = about["evaluation"]
    for changes in (
        {"verdict": "yes"},
        {"verdict": "failed"},
        {"figures": [{"name": "a\x1b[31m", "value": 1, "n": 1}]},
        {"figures": [{"name": "a", "value": "1", "n": 1}]},
        {"figures": [3]},
        {"samples": -1},
        {"measured": 99},
        {"sha256": "x"},
        {"rule": 3},
    ):
        with pytest.raises(ReleaseError, match="evaluation"):
            Release(open_store(made / "r"), {**about, "evaluation": {**evaluation, **changes}})
    others: list[Any] = [3, [], {}]
    for other in others:
        with pytest.raises(ReleaseError, match="evaluation"):
            Evaluation.from_json(other)


@pytest.mark.parametrize("verb", ["publish", "withdraw"])
def test_death_in_the_middle_is_mended_by_the_same_command(
    folder: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr(Holder, "is_gone", True)  # who died was a process of its own
    evaluate(folder / "e2", folder / "r", report="better")

    def act(store: LocalStore) -> None:
        release = Release(store, read_release(store))
        if verb == "withdraw":
            withdraw(release, ["sub-000002"], "no cerebellum", page=small_page)
            return
        options = PublishOptions(date=DAY, evaluation=folder / "e2")
        done = publish(release, options, page=small_page)
        assert done.report.ok, done.report.findings

    shutil.copytree(folder / "r", folder / "undisturbed")
    act(LocalStore(folder / "undisturbed"))
    undisturbed = everything(open_store(folder / "undisturbed"))
    for death in range(2, 100, 7):
        shutil.copytree(folder / "r", folder / str(death))
        store = DyingStore(folder / str(death), death=death)
        try:
            act(store)
        except Died:
            release = Release.open(store.uri)
            assert set(release.measured()["index"].to_pylist()) >= {0, 1, 3, 4, 5}
            act(LocalStore(store.folder))
        assert everything(store) == undisturbed
        shutil.rmtree(store.folder)
        if store.death > 0:
            break
    assert death > 20
