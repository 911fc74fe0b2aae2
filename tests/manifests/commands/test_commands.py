"""The consumer's verbs as a person runs them: output, exit codes, and one line for a mistake."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.format.layout import image_path
from manifests.ledger import ShardPlan
from manifests.ledger.finalise import finalise
from manifests.numbers import human_bytes, human_number
from manifests.storage import open_store
from ray_jobs.cli import main
from tests.manifests.releases import begin, document, make_release, row, write_shard
from tests.servers import S3Server


@pytest.fixture
def release(tmp_path: Path) -> str:
    return make_release(tmp_path / "release", 6).uri


def told(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """The one line that a wrong command ends with."""
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"brainpress {words[0]}: ")
    return err


def test_info_tells_what_it_is_and_what_it_holds(
    release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sexes = [row(index)["sex"] for index in range(6)]
    assert main(["info", release]) == 0
    out = capsys.readouterr().out
    for text in (
        "This is a demonstration",
        "Tiny synthetic brains",
        "sampler      ddim, steps 50",
        "licence      CC-BY-SA-3.0",
        "attribution  Derived from nobody.",
        f"F {sexes.count('F')}, M {sexes.count('M')}",
        "age at the scan",
        "quality_foreground_fraction",
    ):
        assert text in out


def test_info_as_json_is_release_json(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", release, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["ok"] == 6


def test_query_prints_a_table_for_people(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", release, "--where", "age > 60", "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    heading, first = out.splitlines()
    assert heading.split()[:3] == ["participant_id", "sex", "age"]
    assert first.startswith("sub-00000")
    matching = sum(row(index)["age"] > 60 for index in range(6))
    assert matching > 1
    assert err == f"{matching} of 6 rows match, 1 shown (--limit 0 shows all)\n"


def test_query_gives_csv_json_and_parquet(
    release: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for form in ("csv", "json"):
        words = ["query", release, "--columns", "index,sex", "--format", form, "--limit", "2"]
        assert main(words) == 0
        text = capsysbinary.readouterr().out.decode()
        rows = list(csv.DictReader(io.StringIO(text))) if form == "csv" else json.loads(text)
        assert [str(one["index"]) for one in rows] == ["0", "1"]
    file = tmp_path / "rows.parquet"
    assert main(["query", release, "--format", "parquet", "--out", str(file)]) == 0
    table = pq.read_table(file)
    assert table.num_rows == 6
    assert table.schema.field("age").metadata[b"unit"] == b"year"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release", "rows.parquet"]


def test_download_and_verify_say_what_they_did(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["download", release, out, "--ids", "0,1,2"]) == 0
    assert capsys.readouterr().out.startswith("3 images downloaded to ")
    assert main(["download", release, out]) == 0
    assert "3 images downloaded" in (text := capsys.readouterr().out)
    assert "3 were there already" in text
    assert main(["verify", out]) == 0
    assert capsys.readouterr().out.startswith("all is well: 6 images")


def test_verify_of_a_damaged_release_exits_1_and_tells(
    release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(release).put(image_path(1), b"rotten")
    assert main(["verify", release]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("NOT sound: 6 images")
    assert f"error image-size {image_path(1)}: it has 6 bytes" in err
    assert main(["verify", release, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert {"severity", "code", "key", "text"} == set(report["findings"][0])


def test_download_of_a_damaged_release_exits_1_and_tells(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(release).put(image_path(1), b"rotten")
    assert main(["download", release, str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"failed {image_path(1)}: its SHA-256 is" in err
    assert "1 images are missing; run the same command again" in err


def test_status_follows_a_release_from_its_beginning_to_its_end(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, plan = open_store(place), ShardPlan(10, 4)
    assert "no release there" in told(capsys, 2, "status", place)
    begin(store, plan)
    write_shard(store, plan, 1, failed=[5])
    assert main(["status", place]) == 1
    out = capsys.readouterr().out
    assert "4 of 10 done, 1 of them failed" in out
    assert "1 of 3 done, 2 pending" in out
    for shard in (0, 2):
        write_shard(store, plan, shard)
    assert main(["status", place]) == 1
    assert "only the manifest is missing" in capsys.readouterr().out
    finalise(store, plan, document())
    assert main(["status", place]) == 0
    assert "finished  yes" in capsys.readouterr().out
    assert main(["status", place, "--n", "17", "--json"]) == 1
    status = json.loads(capsys.readouterr().out)
    assert (status["shards"], status["shards_pending"]) == (5, 3)


def test_a_wrong_command_gets_one_line(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = str(tmp_path / "empty")
    for verb in ("info", "query", "verify"):
        assert "no release there" in told(capsys, 2, verb, empty)
    assert "no release there" in told(capsys, 2, "download", empty, str(tmp_path / "out"))
    assert "did you mean age?" in told(capsys, 2, "query", release, "--where", "agee > 1")
    assert "did you mean sex?" in told(capsys, 2, "query", release, "--columns", "sexx")
    assert "not a number of at least 0" in told(capsys, 2, "query", release, "--limit", "-3")
    assert "expected at least 1" in told(capsys, 2, "verify", release, "--connections", "0")
    assert "cannot use ftp://" in told(capsys, 2, "info", "ftp://bucket/release")
    assert "invalid choice" in told(
        capsys, 2, "download", release, str(tmp_path / "out"), "--existing", "ask"
    )
    missing = str(tmp_path / "no" / "folder" / "x.csv")
    line = told(capsys, 2, "query", release, "--format", "csv", "--out", missing)
    assert f"cannot write {missing}: No such file or directory" in line


def test_a_wrong_bucket_or_secret_gets_one_line(
    s3: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3.make_bucket()
    for verb in ("info", "query", "verify", "status"):
        assert "does not exist" in told(capsys, 2, verb, "s3://no-such-bucket/x")
    assert "no release there" in told(capsys, 2, "info", f"s3://{bucket}/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for verb in ("info", "query", "verify", "status"):
        assert "the secret key does not fit" in told(capsys, 2, verb, f"s3://{bucket}/x")


@pytest.mark.parametrize("verb", ["info", "query", "download", "verify", "status"])
def test_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"brainpress {verb} s3://bucket/release" in out
    assert "RELEASE" in out or "PLACE" in out


def test_sizes_are_told_in_few_digits() -> None:
    assert [human_bytes(size) for size in (0, 999, 1000, 123_456, 999_950, 5.2e9, 7e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "123.5 kB",
        "1.0 MB",
        "5.2 GB",
        "7000.0 TB",
    ]


def test_numbers_are_told_without_exponents() -> None:
    numbers = [human_number(value) for value in (0.25, 44.0, 6_995.68, 1_144_240.3, -2.5e6)]
    assert numbers == ["0.25", "44", "6,995.68", "1,144,240", "-2,500,000"]
