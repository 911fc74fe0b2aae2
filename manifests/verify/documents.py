"""Whether a release's plan and BIDS tables agree with its manifest and release.json."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import (
    BIDS_VERSION,
    DESCRIPTION_KEY,
    PARTICIPANTS_KEY,
    PLAN_KEY,
    RELEASE_KEY,
)
from manifests.format.parquet import MOST_FILE_BYTES
from manifests.format.schema import Column
from manifests.metadata.bids import participants_header, participants_lines, participants_tsv
from manifests.query.release import Release
from manifests.storage.base import Entry, Store
from manifests.verify.findings import Report

COLUMNS_KEY = "participants.json"
# Of every release; without a digest nobody could tell whether they are as they were.
NAMED = (DESCRIPTION_KEY, PARTICIPANTS_KEY, COLUMNS_KEY, "README.md", "CHANGES", "LICENSE")
SHOWN = 3
LINES = 65_536  # of participants.tsv, compared at a time


def read_or_why(store: Store, key: str, most: int = MOST_FILE_BYTES) -> bytes | str | None:
    """What lies at `key`; in words why nobody should read it; None where nothing does."""
    try:
        return store.get(key, most=most)
    except KeyError:
        return None
    except ReleaseError as error:
        if isinstance(error, StorageError) and not answers(store):
            raise
        return str(error)


def answers(store: Store) -> bool:
    """Whether the storage gives out anything: then what it refuses is a fault of that one object.

    Else its refusals say nothing about the release.
    """
    try:
        store.get(RELEASE_KEY, most=MOST_JSON_BYTES)
    except StorageError:
        return False
    except (KeyError, ReleaseError):
        return True
    return True


def check_documents(release: Release, report: Report) -> None:
    """The documents that release.json gives digests of, and those it should."""
    expected = {**release.about["files"], **release.about.get("opened_files", {})}
    for key, digest in expected.items():
        data = read_or_why(release.store, key)
        if data is None:
            report.error("file-missing", key, "release.json names it, and it is not there")
        elif isinstance(data, str):
            report.error("file-refused", key, data)
        elif sha256(data) != digest:
            report.error("file-changed", key, f"its SHA-256 is not {digest}, as release.json says")
    for key in () if release.about.get("opened_version") else NAMED:
        if key not in release.about["files"]:
            report.error("file-unnamed", key, "release.json gives no SHA-256 of it")
    told = release.about.get("demonstration", release.document.demonstration)
    if told is not release.document.demonstration:
        text = f"demonstration is {told!a:.20}, the model's card says otherwise"
        report.error("release-demonstration", "release.json", text)


def check_plan(release: Release, report: Report) -> None:
    """The plan by which the parts were made; a downloaded part has neither."""
    if not release.about["parts"]:
        return
    data = read_or_why(release.store, PLAN_KEY, MOST_JSON_BYTES)
    if data is None:
        report.error("plan-missing", PLAN_KEY, "it is not there; the release cannot be made larger")
        return
    try:
        plan = parse_json(data, PLAN_KEY) if isinstance(data, bytes) else {}
    except ReleaseError as error:
        report.error("plan-differs", PLAN_KEY, str(error))
        return
    for name in ("fingerprint", "shard_size"):
        if plan.get(name) != release.about[name]:
            found, expected = ascii(plan.get(name))[:80], ascii(release.about[name])[:80]
            text = f"its {name} is {found}, release.json says {expected}"
            report.error("plan-differs", PLAN_KEY, text)


def check_tables(release: Release, table: pa.Table, report: Report) -> None:
    """participants.tsv against the manifest, and what describes it."""
    stored = read_or_why(release.store, PARTICIPANTS_KEY)
    if stored is None and PARTICIPANTS_KEY not in release.about["files"]:
        report.error("file-missing", PARTICIPANTS_KEY, "it is not there")
    columns = [b"participant_id"]
    if isinstance(stored, bytes):
        covariates = release.document.columns
        columns = participants_header(covariates).rstrip(b"\n").split(b"\t")
        if not _is_of(stored, table, covariates):
            _tell_difference(stored, participants_tsv(table, covariates), report)
    about = _json(release.store, COLUMNS_KEY)
    described = {name.decode() for name in columns} - {"participant_id"}
    if about is not None and not described <= {k for k, v in about.items() if isinstance(v, dict)}:
        absent = ", ".join(sorted(described - set(about))[:SHOWN]) or "a column"
        report.error("participants-json", COLUMNS_KEY, f"it does not describe {absent}")
    elif about is None and COLUMNS_KEY in release.about["files"]:
        report.error("participants-json", COLUMNS_KEY, "it is no JSON object")
    dataset = _json(release.store, DESCRIPTION_KEY) or {}
    wanted = {"BIDSVersion": BIDS_VERSION, "DatasetType": "raw"}
    for name, value in wanted.items():
        if dataset.get(name) != value:
            text = f"{name} is {ascii(dataset.get(name))[:60]}, expected {value!r}"
            report.error("description", DESCRIPTION_KEY, text)


def _is_of(stored: bytes, table: pa.Table, columns: tuple[Column, ...]) -> bool:
    """Whether this is the participants.tsv of these rows; few of its lines are made at a time."""
    header = participants_header(columns)
    at = len(header)
    if not stored.startswith(header):
        return False
    for start in range(0, table.num_rows, LINES):
        lines = participants_lines(table.slice(start, LINES), columns)
        if not stored.startswith(lines, at):
            return False
        at += len(lines)
    return at == len(stored)


def _tell_difference(stored: bytes, expected: bytes, report: Report) -> None:
    found, wanted = (_keys(text) for text in (stored, expected))
    if found == wanted:
        lines = zip(stored.splitlines(), expected.splitlines(), strict=False)
        key = next((e.partition(b"\t")[0].decode() for s, e in lines if s != e), "")
        where = f", first of {key}" if key.startswith("sub-") else ""
        text = f"it does not say what the manifest says{where}"
        report.error("participants", PARTICIPANTS_KEY, text)
        return
    absent, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    said = [f"{len(absent)} are missing ({_some(absent)})"] if absent else []
    said += [f"{len(extra)} are too many ({_some(extra)})"] if extra else []
    text = " and ".join(said) or "one is there twice, or they are in another order"
    report.error("participants-rows", PARTICIPANTS_KEY, f"of its participants {text}")


def _keys(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "replace").splitlines()[1:]
    return [line.partition("\t")[0] for line in lines]


def _some(keys: list[str]) -> str:
    return ", ".join(ascii(key)[1:-1][:40] for key in keys[:SHOWN])


def _json(store: Store, key: str) -> dict[str, Any] | None:
    data = read_or_why(store, key, MOST_JSON_BYTES)
    try:
        return parse_json(data, key) if isinstance(data, bytes) else None
    except (ReleaseError, json.JSONDecodeError):
        return None


def listed_files(store: Store, report: Report) -> dict[str, Entry] | None:
    """Everything that is there, by key; None where the storage does not tell."""
    try:
        return {entry.key: entry for entry in store.list()}
    except ReleaseError as error:
        if error.exit_code == 1:  # the storage is away
            raise
        report.warning("not-listed", "", f"what does not belong cannot be found: {error}")
        return None
