"""The readers that are given mutated files: of releases and manifests, as the commands use them."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from manifests.commands.info import _describe
from manifests.commands.query import _brief_columns, text_table
from manifests.digests import sha256
from manifests.format.layout import MANIFEST_KEY, PLAN_KEY, RELEASE_KEY, TARGET_KEY, image_path
from manifests.format.parquet import parquet_bytes
from manifests.ledger.status import read_status
from manifests.query.filter import Filter
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import verify
from manifests.volumes.download import Existing, download
from manifests.volumes.nifti import check_volume
from ray_jobs.status import describe as describe_status
from tests.fuzzing.mutations import FLOATS, mutated_bytes, mutated_json, mutated_words
from tests.manifests.releases import SCHEMA, image_bytes, make_release


@dataclass(frozen=True)
class Reader:
    """A kind of file, its mutations, and what reads it.

    `read` tells whether it took the file; it raises only errors of ours where it did not.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], bool]


def release_readers(scratch: Path) -> list[Reader]:
    """Readers of everything in a release, over one that is made in `scratch`."""
    place, out = scratch / "release", scratch / "out"
    store = make_release(place, 3, shard_size=2, failed=[1])
    originals = {key: store.get(key) for key in (RELEASE_KEY, MANIFEST_KEY, PLAN_KEY, TARGET_KEY)}

    def put(key: str, data: bytes) -> None:
        (place / key).write_bytes(data)

    def consume() -> bool:
        """What every consumer's command does, one after the other."""
        release = Release.open(place)
        about = _describe(release)
        text_table(release.query("index >= 0", columns=_brief_columns(release)))
        verify(release)
        shutil.rmtree(out, ignore_errors=True)
        downloaded = download(release, out, existing=Existing.OVERWRITE)
        page = (out / "README.md").read_text() if (out / "README.md").exists() else about
        assert "\x1b" not in page
        assert "<script" not in page.replace("\\<script", "")
        return not downloaded.failed

    def read_release_json(data: bytes) -> bool:
        put(RELEASE_KEY, data)
        return consume()

    def read_manifest(data: bytes) -> bool:
        about = json.loads(originals[RELEASE_KEY])
        about["files"][MANIFEST_KEY] = sha256(data)
        put(RELEASE_KEY, json.dumps(about).encode())
        put(MANIFEST_KEY, data)
        try:
            return consume()
        finally:
            put(RELEASE_KEY, originals[RELEASE_KEY])
            put(MANIFEST_KEY, originals[MANIFEST_KEY])

    def read_plan(data: tuple[bytes, bytes]) -> bool:
        put(RELEASE_KEY, originals[RELEASE_KEY])
        put(PLAN_KEY, data[0])
        put(TARGET_KEY, data[1])
        status = read_status(open_store(place))
        return bool(describe_status(status)) and status.finished

    def read_filter(text: str) -> bool:
        with Filter(text, SCHEMA) as chosen:
            chosen.apply(table)
        return True

    def read_image(data: bytes) -> bool:
        return check_volume(data)[1] is None

    table = Release.open(place).query()
    plan, target = (json.loads(originals[key]) for key in (PLAN_KEY, TARGET_KEY))
    plans = st.tuples(
        st.one_of(st.just(originals[PLAN_KEY]), mutated_json(plan)),
        st.one_of(st.just(originals[TARGET_KEY]), mutated_json(target)),
    )
    return [
        Reader("release.json", mutated_json(json.loads(originals[RELEASE_KEY])), read_release_json),
        Reader(
            "manifest.parquet, its bytes", mutated_bytes(originals[MANIFEST_KEY]), read_manifest
        ),
        Reader("manifest.parquet, its table", mutated_tables(table), read_manifest),
        Reader("plan.json and target.json", plans, read_plan),
        Reader("image of a release", mutated_images(), read_image),
        Reader("filter (--where)", mutated_words(FILTERS, WORDS), read_filter),
    ]


FILTERS = (
    "age > 70 and sex = 'F'",
    "60 <= age < 70 or not (index in (1, 2, 3))",
    "error like '%empty%' and path is not null",
    "ventricular_volume between 40_000 and 1e5",
    "extrapolated = false",
)
WORDS = ("and", "or", "not", "(", ")", "'", "'F'", "age", "is null", "in", ",", "-", "1e999", "%",
         "9" * 30, "like", "between", "\x00", "\ud800", "nope", "index", "path", "=")  # fmt: skip


@st.composite
def mutated_tables(draw: st.DrawFn, valid: pa.Table) -> bytes:
    """A whole Parquet file whose columns, types or values are others."""
    table = valid
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, table.num_columns - 1))
        name, rows = table.column_names[at], table.num_rows
        match draw(
            st.sampled_from(["drop", "type", "value", "rename", "order", "rows", "metadata"])
        ):
            case "drop":
                table = table.remove_column(at) if table.num_columns > 1 else table
            case "type":
                array = draw(st.sampled_from(_columns(rows)))
                table = table.set_column(at, name, array)
            case "value":
                array = _other(draw, table, at)
                field = table.schema.field(at)
                nulls = field.nullable or array.null_count > 0
                table = table.set_column(at, field.with_nullable(nulls), array)
            case "rename":
                other = draw(st.sampled_from(["x", "path", "index", "sha256", "", "\x1b[2J"]))
                names = [*table.column_names[:at], other, *table.column_names[at + 1 :]]
                table = table.rename_columns(names)
            case "order":
                table = table.select(list(range(table.num_columns))[::-1])
            case "rows":
                chosen = draw(st.sampled_from([[], [0], [2, 1, 0], [0, 0, 1], [0] * 500]))
                table = table.take(pa.array([i for i in chosen if i < rows], pa.int64()))
            case "metadata":
                text = draw(mutated_json(json.loads(valid.schema.metadata[b"brainpress"])))
                table = table.replace_schema_metadata({"brainpress": text[:100_000]})
    if len(set(table.column_names)) == table.num_columns and draw(st.booleans()):
        return parquet_bytes(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=draw(st.sampled_from(["zstd", "snappy", "none"])))
    return bytes(sink.getvalue().to_pybytes())


def _columns(rows: int) -> list[pa.Array]:
    return [
        pa.array([1] * rows, pa.int8()),
        pa.array([None] * rows, pa.string()),
        pa.array(["x" * 100_000] * rows),
        pa.array([[1, 2]] * rows),
        pa.array([{"a": 1}] * rows),
        pa.array([b"\xff"] * rows),
        pa.array(["a"] * rows).dictionary_encode(),
        pa.array([0.5] * rows),
        pa.nulls(rows),
    ]


TEXTS = (
    "../../x",
    "/etc/passwd",
    "C:\\x",
    "\x1b[31m",
    "",
    "ok",
    "failed",
    "X",
    "F",
    "a\nb",
    "0" * 64,
)
NUMBERS = (0, 1, -1, 2, 7, 2**31 - 1)


def _other(draw: st.DrawFn, table: pa.Table, at: int) -> pa.Array:
    """The column with one value changed, in its own type."""
    field, values = table.schema.field(at), table.column(at).to_pylist()
    if not values:
        return table.column(at)
    kinds: dict[str, tuple[Any, ...]] = {
        "string": (*TEXTS, None, image_path(1)),
        "int64": (*NUMBERS, 2**63 - 1, -(2**63), None),
        "int32": NUMBERS,
        "double": (*FLOATS, 1e300, None),
        "bool": (True, False),
    }
    choices = kinds.get(str(field.type), (None,))
    values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from(choices))
    try:
        return pa.array(values, field.type)
    except pa.ArrowException:
        return table.column(at)


@st.composite
def mutated_headers(draw: st.DrawFn, plain: bytes) -> bytes:
    """An unpacked NIfTI file with fields of its header changed."""
    data = bytearray(plain)
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.sampled_from(["dim", "type", "offset", "scale", "affine", "size", "any"])):
            case "dim":
                at = 40 + 2 * draw(st.integers(0, 7))
                data[at : at + 2] = struct.pack("<h", draw(st.sampled_from([-1, 0, 1, 7, 32767])))
            case "type":
                code = draw(st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 512, 768, 1792, 2304]))
                data[70:72] = struct.pack("<H", code)
            case "offset":
                offset = draw(st.sampled_from([*FLOATS, 0.0, 348.0, 352.0, 368.0, 1e6, 1e9]))
                data[108:112] = struct.pack("<f", offset)
            case "scale":
                at = draw(st.sampled_from([112, 116]))
                data[at : at + 4] = struct.pack("<f", draw(st.sampled_from(FLOATS)))
            case "affine":
                at = draw(st.sampled_from([*range(76, 108, 4), *range(252, 328, 4)]))
                data[at : at + 4] = struct.pack("<f", draw(st.sampled_from(FLOATS)))
            case "size":
                data[:4] = struct.pack("<i", draw(st.sampled_from([348, 540, 0, -1, 2**31 - 1])))
            case "any":
                data = bytearray(draw(mutated_bytes(bytes(data[:400]))) + data[400:])
    return bytes(data)


def mutated_images() -> st.SearchStrategy[bytes]:
    """Images of a release: changed inside and packed again, or changed as packed; and bombs."""
    whole = image_bytes(0)
    inside = mutated_headers(gzip.decompress(whole)).map(_packed)
    return st.one_of(inside, inside, mutated_bytes(whole), st.sampled_from(bombs()))


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def bombs() -> list[bytes]:
    """64 MB of zeros behind headers that ask for little, for just that, and for far more."""
    plain = bytearray(gzip.decompress(image_bytes(0))[:352])
    found = []
    for dims in ((4, 4, 4), (320, 320, 320), (32767, 32767, 32767)):
        plain[42:48] = np.array(dims, "<i2").tobytes()
        found.append(gzip.compress(bytes(plain) + bytes(64 * 2**20), 6, mtime=0))
    return found
