"""How long SQL over a manifest on S3 takes, and how many of its bytes it reads.

    python -m tests.benchmarks.query --rows 1000000

The manifest is of made-up rows, written by the code that closes a release, onto `weed mini`. Each
query is timed in a process of its own, as the installed command (`whole`), and within a process
that has started (`answer`: opening the release, reading, computing).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa

from manifests.format.layout import MANIFEST_KEY
from manifests.format.release_json import read_release
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.s3.store import S3Store
from tests.benchmarks.growth import document, made_up
from tests.servers import S3Server

AGGREGATE = "SELECT sex, count(*), avg(ventricular_volume) FROM manifest GROUP BY sex"
QUERIES = {
    "aggregate": AGGREGATE,
    "count": "SELECT count(*) FROM manifest",
    "quantiles by decade": "SELECT floor(age * 10) AS d, median(ventricular_volume), count(*)"
    " FROM manifest GROUP BY d ORDER BY d",
    "one row": "SELECT path, sha256 FROM manifest WHERE index = 777777",
    "first rows": "SELECT * FROM manifest LIMIT 20",
    "all columns": "SUMMARIZE manifest",
}
ROWS_AT_A_TIME = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--time", nargs=2, metavar=("URI", "SQL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.time:
        print(answer(*args.time))
        return
    with S3Server.running("query") as (server, _):
        uri = f"s3://{server.make_bucket()}/release"
        size = write(uri, args.rows)
        print(f"{args.rows:,} rows, manifest.parquet of {size / 1e6:.1f} MB\n")
        print("| query | answer, s | whole command, s | MB read | share of the file | GETs |")
        print("|---|---|---|---|---|---|")
        for name, sql in QUERIES.items():
            print(row(uri, name, sql, size, args.repeats), flush=True)


def write(uri: str, count: int) -> int:
    """A release of made-up rows and no images; the size of its manifest."""
    store = open_store(uri)
    starts = range(0, count, ROWS_AT_A_TIME)
    parts = [made_up(range(start, min(start + ROWS_AT_A_TIME, count))) for start in starts]
    write_release(store, pa.concat_tables(parts), document())
    return next(entry.size for entry in store.list(MANIFEST_KEY) if entry.key == MANIFEST_KEY)


def row(uri: str, name: str, sql: str, size: int, repeats: int) -> str:
    """The fastest of some runs, each in a new process."""
    command = [sys.executable, "-m", "tests.benchmarks.query", "--time", uri, sql]
    inner = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(repeats)
    ]
    seconds = min(float(words[0]) for words in inner)
    read, gets = (int(word) for word in inner[0][1:])
    whole = min(
        _timed([sys.executable, "-m", "ray_jobs.cli", "query", uri, sql]) for _ in range(repeats)
    )
    share = f"{100 * read / size:.2f} %"
    return f"| {name} | {seconds:.2f} | {whole:.2f} | {read / 1e6:.2f} | {share} | {gets} |"


def _timed(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - start


def answer(uri: str, sql: str) -> str:
    """Seconds from opening the release to the result, bytes of the manifest read, GETs."""
    store = open_store(uri)
    assert isinstance(store, S3Store)
    lengths: list[int] = []

    def answered(http_response: Any, **_: Any) -> None:
        lengths.append(int(http_response.headers["Content-Length"]))

    start = time.monotonic()
    release = Release(store, read_release(store))
    store.client.meta.events.register("after-call.s3.GetObject", answered)
    release.sql(sql)
    return f"{time.monotonic() - start} {sum(lengths)} {len(lengths)}"


if __name__ == "__main__":
    main()
