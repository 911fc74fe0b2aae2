"""The files of a job's --out: written whole or not at all, and refused to another run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ldm.untrusted import MOST_BYTES, parse_object
from ray_jobs.errors import JobError


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a side name in the same folder, then rename."""
    side = path.with_name(f".{path.name}.{os.getpid()}")
    side.write_bytes(data)
    os.replace(side, path)


def json_bytes(document: dict[str, Any]) -> bytes:
    """A document as the JSON files of a job have it."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """A JSON file, written whole."""
    write_bytes(path, json_bytes(document))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is no such file or it is damaged."""
    try:
        with path.open("rb") as stream:
            return parse_object(stream.read(MOST_BYTES + 1))
    except (OSError, ValueError):
        return None


def write_array(path: Path, array: np.ndarray) -> None:
    """An `.npy` file, written whole."""
    side = path.with_name(f".{path.name}.{os.getpid()}")
    with side.open("wb") as stream:
        np.save(stream, array)
    os.replace(side, path)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A Parquet file, written whole."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path, *, made_by: str) -> pd.DataFrame:
    """The table in a Parquet file.

    Raises:
        JobError: missing or damaged; run the job `made_by` again.
    """
    try:
        return pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid):
        raise JobError(f"{path} is missing or damaged; run {made_by} again") from None


def digest(document: Any) -> str:
    """sha256, hexadecimal, of a document's canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def output_folder(text: str, *, what: str) -> Path:
    """The absolute folder of `--out`, made if it is not there.

    Raises:
        JobError: an s3:// URI, a path that is a file, or one nobody can write to.
    """
    if "://" in text:
        raise JobError(f"--out {text}: {what} goes to a folder, not to a bucket; give a path")
    folder = in_utf8(Path(text).expanduser().absolute(), "--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise JobError(f"--out {text} is a file; expected a folder") from None
    except OSError as error:
        raise JobError(f"--out {text} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise JobError(f"--out {text} cannot be written to; choose another folder")
    return folder


def in_utf8(path: Path, option: str) -> Path:
    """`path`, whose name can be written down.

    Raises:
        JobError: it has bytes that are no UTF-8, as names of another encoding have.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        told = str(path).encode("utf-8", "backslashreplace").decode()
        raise JobError(f"{option} {told}: its name is not UTF-8; rename it") from None
    return path


def refuse_other_run(
    path: Path, fields: dict[str, Any], *, free: Collection[str] = (), place: str = ""
) -> dict[str, Any]:
    """Record what a run is in `path`, or check that the run begun there is this one.

    Args:
        free: fields that may change within a run, such as `training.micro_batch`.
        place: what the run's folder is called, where it is not that of `path`.

    Returns:
        What is recorded there: the fields with which the run was begun.

    Raises:
        JobError: another run was begun there; names every field that differs.
    """
    document = read_json(path)
    if document is None:
        write_json(path, fields)
        return fields
    found, wanted = _flat(document), _flat(json.loads(json.dumps(fields)))
    differing = [
        f"{name} {_short(found.get(name))} -> {_short(wanted.get(name))}"
        for name in sorted((found.keys() | wanted.keys()) - set(free))
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise JobError(
            f"{place or path.parent} holds another run: {'; '.join(differing)}. "
            "Use its options again, or another --out"
        )
    return document


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of nested objects, as `training.seed`."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short(value: Any) -> str:
    """A field's value for a message; of a sha256 its beginning is enough."""
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:12]}..."
    return "none" if value is None else repr(value)
