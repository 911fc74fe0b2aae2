"""Workers that draw samples of a finished release again, with a real, tiny model, without Ray."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manifests.changes.changing import changing
from manifests.changes.lease import LostLeaseError
from manifests.format.layout import image_path, part_key
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.tombstones import bury
from manifests.storage import open_store
from ray_jobs.generation.worker.again import Redrawer, Repairer, kind_of_worker
from ray_jobs.generation.worker.assignment import Again, Why
from ray_jobs.generation.worker.doubts import DoubtfulError
from ray_jobs.generation.worker.worker import Worker
from tests.e2e.running import files, tiny_model
from tests.ray_jobs.generation.worker.test_worker import LOOSE, assignment, loaded, rows

HALF = {**LOOSE, "mean_intensity": (0.4295, 1.0)}  # some half of the draws pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "picky", bounds=HALF)


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[str]:
    with changing(open_store(tmp_path), "generate") as right:
        yield right.lease.register.identity


def again(model: Path, out: Path, told: Again, **changes: Any) -> Worker:
    assigned = assignment(model, out, again=told, **changes)
    worker = pickle.loads(pickle.dumps(kind_of_worker(assigned)))(assigned, {})
    assert worker.load() is None
    return worker


def repairing(made: dict[int, dict[str, Any]], lease: str, *indices: int) -> Again:
    return Again(
        why=Why.REPAIR,
        attempts={i: range(made[i]["attempt"], made[i]["attempt"] + 1) for i in indices},
        digests={i: made[i]["sha256"] for i in indices},
        lease=lease,
    )


def test_what_does_not_come_out_as_it_was_is_named_and_not_written(
    model: Path, tmp_path: Path, lease: str
) -> None:
    loaded(assignment(model, tmp_path, attempts=9)).print_shard(1)
    made = {row["index"]: row for row in rows(tmp_path, 1)}
    assert {row["status"] for row in made.values()} == {"ok"}
    assert max(row["attempt"] for row in made.values()) > 0
    before = files(tmp_path)
    for index in made:
        (tmp_path / image_path(index)).unlink()
    made[6]["sha256"] = "0" * 64
    worker = again(model, tmp_path, repairing(made, lease, 4, 5, 6), attempts=9)
    assert isinstance(worker, Repairer)
    with pytest.raises(DoubtfulError, match="samples 6 did not come out") as doubted:
        worker.print_shard(1)
    report = worker.print_shard(1, doubted.value.draws)  # as another device has found too
    assert (report.rows, report.unlike) == (3, (6,))
    left = {image_path(6), image_path(7)}  # nobody asked for the last
    assert files(tmp_path).keys() == before.keys() - left
    assert all(before[key] == data for key, data in files(tmp_path).items() if "lease" not in key)


def test_a_recheck_compares_and_stores_nothing(model: Path, tmp_path: Path) -> None:
    loaded(assignment(model, tmp_path, attempts=9)).print_shard(1)
    made = {row["index"]: row for row in rows(tmp_path, 1)}
    told = replace(repairing(made, "", 4, 6), why=Why.RECHECK)
    before = files(tmp_path)
    assert again(model, tmp_path, told, attempts=9).print_shard(1).unlike == ()
    made[6]["sha256"] = "0" * 64
    told = replace(repairing(made, "", 4, 6), why=Why.RECHECK)
    worker = again(model, tmp_path, told, attempts=9)
    with pytest.raises(DoubtfulError) as doubted:
        worker.print_shard(1)
    assert doubted.value.draws == {(6, made[6]["attempt"])}
    assert worker.print_shard(1, doubted.value.draws).unlike == (6,)
    assert files(tmp_path) == before


def test_nothing_is_stored_once_the_lease_is_lost(model: Path, tmp_path: Path) -> None:
    loaded(assignment(model, tmp_path, attempts=9)).print_shard(1)
    made = {row["index"]: row for row in rows(tmp_path, 1)}
    (tmp_path / image_path(4)).unlink()
    before = files(tmp_path)
    worker = again(model, tmp_path, repairing(made, "0" * 16, 4), attempts=9)
    with pytest.raises(LostLeaseError, match="run the same command again"):
        worker.print_shard(1)
    assert files(tmp_path) == before


def test_failed_rows_alone_are_replaced_and_what_was_withdrawn_stays_so(
    model: Path, tmp_path: Path, lease: str
) -> None:
    loaded(assignment(model, tmp_path, attempts=1, n=12)).print_shard(2)
    loaded(assignment(model, tmp_path, attempts=1)).print_shard(0)
    loaded(assignment(model, tmp_path, attempts=1)).print_shard(1)
    loaded(assignment(model, tmp_path / "at-once", attempts=9)).print_shard(0)
    loaded(assignment(model, tmp_path / "at-once", attempts=9)).print_shard(1)
    for shard in (0, 1):
        before = rows(tmp_path, shard)
        failed = [row["index"] for row in before if row["status"] == "failed"]
        assert failed
        store, key = open_store(tmp_path), part_key(shard)
        data, etag = store.get_with_etag(key)
        buried = bury(table_from_bytes(data, key), {failed[0]: "not wanted"})
        assert store.replace(key, parquet_bytes(buried), etag=etag)
        told = Again(why=Why.REDRAW, attempts=dict.fromkeys(failed, range(1, 9)), lease=lease)
        worker = again(model, tmp_path, told, attempts=1)
        assert isinstance(worker, Redrawer)
        assert worker.print_shard(shard).rows == len(failed)
        found = {row["index"]: row for row in rows(tmp_path, shard)}
        expected = {row["index"]: row for row in rows(tmp_path / "at-once", shard)}
        assert found[failed[0]]["error"] == "not wanted"
        for index in failed[1:]:
            assert found[index] == expected[index]
        for row in before:
            if row["status"] == "ok":
                assert found[row["index"]] == row
