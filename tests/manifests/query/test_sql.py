"""SQL over a manifest: right answers, few bytes, and no way to anything else."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY
from manifests.format.parquet import ROW_GROUP_ROWS
from manifests.format.release_json import read_release
from manifests.format.schema import rows_table
from manifests.metadata.staging import write_release
from manifests.query import sql
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.storage.s3.store import S3Store
from ray_jobs.cli import main
from tests import ROOT
from tests.manifests.releases import SCHEMA, document, make_release, row

SQL = "SELECT sex, count(*), avg(ventricular_volume) FROM manifest GROUP BY sex ORDER BY sex"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release without images, of three row groups."""
    folder = tmp_path_factory.mktemp("large") / "release"
    count = 2 * ROW_GROUP_ROWS + 1000
    one = rows_table([row(0, b"x")], SCHEMA)
    table = one.take(np.zeros(count, np.int64))
    rng = np.random.default_rng(0)
    changes: dict[str, Any] = {
        "index": np.arange(count),
        "age": rng.uniform(44, 82, count),
        "ventricular_volume": rng.uniform(7_000, 170_000, count),
        "sex": rng.choice(["F", "M"], count),
        "sha256": [rng.bytes(32).hex() for _ in range(count)],
    }
    for name, values in changes.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), [values])
    write_release(LocalStore(folder), table, document())
    return folder


class Counting(LocalStore):
    """A store that counts the bytes that are read of each key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read = 0

    def open(self, key: str) -> BinaryIO:
        store = self

        class File(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                data = super().read(size)
                store.read += len(data)
                return data

        return File((self.folder / key).read_bytes())


def test_sql_gives_what_pandas_gives(place: str) -> None:
    make_release(place, 10, failed=[4])
    frame = pd.DataFrame([row(index) for index in range(10)])
    expected = frame.groupby("sex")["ventricular_volume"].agg(["size", "mean"])
    found = Release.open(place).sql(SQL).to_pylist()
    assert [one["sex"] for one in found] == list(expected.index)
    assert [one["count_star()"] for one in found] == list(expected["size"])
    means = [one["avg(ventricular_volume)"] for one in found]
    assert means == pytest.approx(list(expected["mean"]))


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("age > 60 AND sex = 'F'", lambda f: (f.age > 60) & (f.sex == "F")),
        ("index BETWEEN 70000 AND 70010", lambda f: f["index"].between(70000, 70010)),
        (
            "index IN (3, 131080) OR age < 44.001",
            lambda f: f["index"].isin([3, 131080]) | (f.age < 44.001),
        ),
        ("sex <> 'M' AND NOT extrapolated", lambda f: (f.sex != "M") & ~f.extrapolated),
        ("error IS NOT NULL", lambda f: f.error.notna()),
    ],
    ids=["and", "between", "or", "not", "null"],
)
def test_a_condition_keeps_the_rows_that_pandas_keeps(
    large: Path, condition: str, kept: Any
) -> None:
    frame = pq.read_table(large / MANIFEST_KEY).to_pandas()
    expected = frame[kept(frame)]
    found = Release.open(large).sql(
        f"SELECT count(*) AS n, sum(index) AS s, avg(age) AS a FROM manifest WHERE {condition}"
    )
    (one,) = found.to_pylist()
    assert one["n"] == len(expected)
    if len(expected):
        assert one["s"] == expected["index"].sum()
        assert one["a"] == pytest.approx(expected["age"].mean())


def test_only_the_columns_and_row_groups_needed_are_fetched(large: Path) -> None:
    size = (large / MANIFEST_KEY).stat().st_size
    about = pq.ParquetFile(large / MANIFEST_KEY).metadata

    def fetched(text: str, **options: Any) -> int:
        store = Counting(large)
        Release(store, Release.open(large).about).sql(text, **options)
        return store.read

    def chunks(*names: str, groups: range) -> int:
        columns = [SCHEMA.names.index(name) for name in names]
        found = [about.row_group(group).column(column) for group in groups for column in columns]
        return sum(chunk.total_compressed_size for chunk in found)

    footer = 65_536 + 8  # Arrow reads the end of the file, and of what is larger the rest
    read = fetched("SELECT sex, avg(age) FROM manifest GROUP BY sex")
    assert 0 < read - chunks("sex", "age", groups=range(3)) <= footer
    assert read < size / 5
    read = fetched("SELECT path, sha256 FROM manifest WHERE index = 131080")
    assert 0 < read - chunks("index", "path", "sha256", groups=range(2, 3)) <= footer
    read = fetched("SELECT * FROM manifest", limit=5)
    assert 0 < read - chunks(*SCHEMA.names, groups=range(1)) <= footer
    assert fetched("SELECT 1") <= footer


def test_of_a_bucket_only_the_bytes_needed_come(large: Path, bucket: str) -> None:
    """Counted as the server's answers tell their length."""
    store = open_store(f"s3://{bucket}/release")
    assert isinstance(store, S3Store)
    for key in (MANIFEST_KEY, RELEASE_KEY):
        store.put_file(key, large / key)
    release = Release(store, read_release(store))
    lengths: list[int] = []

    def answered(http_response: Any, **_: Any) -> None:
        lengths.append(int(http_response.headers["Content-Length"]))

    store.client.meta.events.register("after-call.s3.GetObject", answered)
    assert release.sql(SQL).num_rows == 2
    about = pq.ParquetFile(large / MANIFEST_KEY).metadata
    needed = sum(
        about.row_group(group).column(SCHEMA.names.index(name)).total_compressed_size
        for group in range(3)
        for name in ("sex", "ventricular_volume")
    )
    # The reader fetches the end of a chunk, and the footer, 64 KiB at a time.
    assert needed <= sum(lengths) <= needed + 65_536 * 8
    assert sum(lengths) < (large / MANIFEST_KEY).stat().st_size / 4


def test_the_filters_of_where_skip_row_groups_too(large: Path) -> None:
    store = Counting(large)
    release = Release(store, Release.open(large).about)
    table = release.query("index >= 131072 and index < 131080", columns=["age"])
    assert table.num_rows == 8
    assert store.read < (large / MANIFEST_KEY).stat().st_size / 20


ESCAPES = {
    "a file": "SELECT * FROM '/etc/passwd'",
    "read_csv": "SELECT * FROM read_csv('/etc/passwd')",
    "read_text": "SELECT * FROM read_text('/etc/passwd')",
    "read_parquet": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "glob": "SELECT * FROM glob('/etc/*')",
    "copy": "COPY manifest TO 'stolen.csv'",
    "copy from": "COPY manifest FROM '/etc/passwd'",
    "attach": "ATTACH 'new.db'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET enable_external_access = true",
    "create": "CREATE TABLE x AS SELECT 1",
    "insert": "INSERT INTO manifest VALUES (1)",
    "drop": "DROP VIEW manifest",
    "pragma": "PRAGMA database_list",
    "export": "EXPORT DATABASE 'folder'",
    "variable": "SELECT * FROM secret_frame",
    "getenv": "SELECT getenv('HOME')",
    "two statements": "SELECT 1; COPY manifest TO 'stolen.csv'",
    "nothing": "-- nothing",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=list(ESCAPES))
def test_sql_reaches_nothing_but_the_manifest(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_frame = pd.DataFrame({"secret": [1]})  # noqa: F841 - DuckDB looks at its callers
    make_release(tmp_path / "release", 2)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main(["query", str(tmp_path / "release"), text]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("brainpress query: ")
    assert "root:" not in err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT agee FROM manifest", 'column "agee" not found'),
        ("SELECT agee FROM manifest", "the columns of manifest are index, participant_id, path"),
        ("SELECT * FROM release", "the only table is manifest"),
        ("SELEC age", "syntax error"),
        ("SELECT age FROM manifest WHERE sex > 5", "an explicit cast is required"),
        ("UPDATE manifest SET age = 1", "expected a SELECT"),
        ("SELECT 1; SELECT 2", "expected one SELECT"),
        ("", "SQL of 0 statements"),
    ],
)
def test_sql_that_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    make_release(tmp_path, 2)
    with pytest.raises(ReleaseError) as told:
        Release.open(tmp_path).sql(text)
    assert line in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_sql_with_more_than_its_memory_ends_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_release(tmp_path, 2)
    monkeypatch.setitem(sql.LOCKED, "memory_limit", "16MB")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    text = "SELECT list(a.range) FROM range(3000) a, range(3000) b GROUP BY b.range"
    with pytest.raises(ReleaseError, match="of memory: ask for less") as told:
        Release.open(tmp_path).sql(text)
    assert told.value.exit_code == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_chunk_is_told_as_such(large: Path, tmp_path: Path) -> None:
    data = bytearray((large / MANIFEST_KEY).read_bytes())
    chunk = (
        pq.ParquetFile(large / MANIFEST_KEY).metadata.row_group(1).column(SCHEMA.names.index("age"))
    )
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + 2000] = bytes(2000)
    store = open_store(tmp_path)
    store.put(MANIFEST_KEY, bytes(data))
    release = Release(store, Release.open(large).about)
    assert release.sql("SELECT count(sex) AS n FROM manifest").to_pylist()[0]["n"] > 0
    with pytest.raises(
        ReleaseError, match=r"manifest\.parquet: not a readable Parquet file"
    ) as told:
        release.sql("SELECT avg(age) FROM manifest")
    assert told.value.exit_code == 1


def test_the_command_writes_every_form(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    release = make_release(tmp_path / "release", 6).uri
    text = (
        "SELECT sum(index) AS total, sum(index) AS total, list(index) AS every,"
        " DATE '2026-01-02' AS day, 'nan'::DOUBLE AS none FROM manifest"
    )
    assert main(["query", release, text, "--format", "json"]) == 0
    (one,) = json.loads(capsysbinary.readouterr().out)
    expected = {"total": 15, "total_2": 15, "every": [*range(6)], "day": "2026-01-02", "none": None}
    assert one == expected
    assert main(["query", release, text, "--format", "csv"]) == 0
    (line,) = csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode()))
    assert (line["total"], json.loads(line["every"])) == ("15", [*range(6)])
    assert main(["query", release, text]) == 0
    out, err = capsysbinary.readouterr()
    assert out.decode().split()[:5] == ["total", "total_2", "every", "day", "none"]
    assert err == b"1 row\n"
    file = tmp_path / "rows.parquet"
    assert main(["query", release, text, "--format", "parquet", "--out", str(file)]) == 0
    assert pq.read_table(file)["total"].to_pylist() == [15]


def test_the_command_shows_the_first_rows_and_says_that_there_are_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = make_release(tmp_path / "release", 6).uri
    words = ["query", release, "SELECT index FROM manifest ORDER BY index DESC", "--limit"]
    assert main([*words, "2"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["index", "5", "4"]
    assert err == "more than 2 rows, 2 shown (--limit 0 shows all)\n"
    assert main([*words, "0"]) == 0
    out, err = capsys.readouterr()
    assert (len(out.split()), err) == (7, "6 rows\n")
    assert main([*words[:3], "--where", "age > 60"]) == 2
    assert "leave out --where, --columns" in capsys.readouterr().err


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """A folder with a release named `demo-release` in it, as in the README."""
    make_release(tmp_path / "demo-release", 10)
    return tmp_path


ONE_LINERS = {
    "pandas": (
        "import pandas as pd;"
        ' print(pd.read_parquet("demo-release/manifest.parquet")'
        '.groupby("sex")["ventricular_volume"].mean())'
    ),
    "polars": (
        "import polars as pl;"
        ' print(pl.scan_parquet("demo-release/manifest.parquet")'
        '.group_by("sex").agg(pl.mean("ventricular_volume")).collect())'
    ),
    "duckdb": (
        "import duckdb;"
        ' print(duckdb.sql("SELECT sex, avg(ventricular_volume)'
        " FROM 'demo-release/manifest.parquet' GROUP BY sex\"))"
    ),
    "arrow": (
        "import pyarrow.dataset as ds;"
        ' print(ds.dataset("demo-release/manifest.parquet")'
        '.to_table(columns=["sex", "ventricular_volume"])'
        '.group_by("sex").aggregate([("ventricular_volume", "mean")]).to_pandas())'
    ),
    "brainpress": (
        "from manifests.query.release import Release;"
        ' print(Release.open("demo-release").sql("SELECT sex, avg(ventricular_volume)'
        ' FROM manifest GROUP BY sex").to_pandas())'
    ),
}


@pytest.mark.parametrize("program", ONE_LINERS.values(), ids=list(ONE_LINERS))
def test_a_line_of_python_reads_the_manifest(consumer: Path, program: str) -> None:
    paths = os.pathsep.join(str(path) for path in (ROOT,))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=consumer,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    frame = pd.DataFrame([row(index) for index in range(10)])
    for mean in frame.groupby("sex")["ventricular_volume"].mean():
        assert f"{mean:.0f}"[:4] in done.stdout.replace(",", "")
