"""The ledger on a folder and on a real S3 server: commitment, growth, races, refusals."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.errors import ReleaseError, StorageError
from manifests.format.json_text import json_bytes
from manifests.format.layout import TARGET_KEY, part_key, shard_of
from manifests.format.parquet import parquet_bytes, row_count
from manifests.format.schema import rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.storage import open_store
from manifests.storage.base import Store
from tests.manifests.releases import SCHEMA, begin, document, row, write_shard

PLAN = ShardPlan(10, 4)
DOCUMENT = {
    "fingerprint": "a",
    "fields": {"seed": 1, "model": {"name": "demo", "steps": 50}},
    "shard_size": 4,
}


def table_of(plan: ShardPlan, shard: int) -> pa.Table:
    return rows_table([row(index, b"%d" % index) for index in plan.indices(shard)], SCHEMA)


def test_a_plan_cuts_samples_at_fixed_indices() -> None:
    assert [list(PLAN.indices(shard)) for shard in range(PLAN.count)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert ShardPlan(100, 4).indices(1) == PLAN.indices(1)
    assert ShardPlan(8, 4).count == 2
    for n, size in ((0, 4), (-5, 4), (4, 0)):
        with pytest.raises(ReleaseError, match="at least 1"):
            ShardPlan(n, size)
    for shard in (-1, 3):
        with pytest.raises(IndexError):
            PLAN.indices(shard)


def test_a_part_is_known_by_its_key() -> None:
    for shard in (0, 7, 99_999, 100_000):
        assert shard_of(part_key(shard)) == shard
    for key in (
        "manifest/part-7.parquet",
        "manifest/plan.json",
        "manifest/part-0000x.parquet",
        "manifest/part-0000007.parquet",
    ):
        assert shard_of(key) is None


def test_a_shard_is_done_when_it_is_committed_and_not_before(place: str) -> None:
    ledger = Ledger(open_store(place))
    ledger.begin(DOCUMENT, n=10)
    assert ledger.pending(PLAN) == [0, 1, 2]
    assert ledger.commit(1, table_of(PLAN, 1), 4) == "committed"
    assert ledger.commit(1, table_of(PLAN, 1), 4) == "already"
    assert ledger.done(PLAN) == {1}
    assert pickle.loads(pickle.dumps(ledger)).pending(PLAN) == [0, 2]


def test_a_release_grows_by_completing_its_last_shard(place: str) -> None:
    ledger, larger = Ledger(open_store(place)), ShardPlan(11, 4)
    ledger.begin(DOCUMENT, n=10)
    for shard in range(3):
        ledger.commit(shard, table_of(PLAN, shard), PLAN.expected_rows(shard))
    assert ledger.pending(PLAN) == []
    assert ledger.pending(larger) == [2]
    assert ledger.commit(2, table_of(larger, 2), 3) == "committed"
    assert ledger.pending(larger) == []
    assert ledger.pending(PLAN) == []  # what is larger is done for a smaller plan too
    assert ledger.commit(2, table_of(PLAN, 2), 2) == "already"
    assert ledger.store.get(part_key(2)) == parquet_bytes(table_of(larger, 2))


def test_only_parts_that_a_smaller_plan_cut_short_are_looked_into(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, plan = open_store(place), ShardPlan(24, 4)
    Ledger(store).begin(DOCUMENT, n=10)
    for shard in range(3):
        Ledger(store).commit(shard, table_of(PLAN, shard), PLAN.expected_rows(shard))
    Ledger(store).begin(DOCUMENT, n=24)
    looked: list[str] = []

    def counting(store: Store, key: str) -> int:
        looked.append(key)
        return row_count(store, key)

    monkeypatch.setattr("manifests.ledger.ledger.row_count", counting)
    assert Ledger(store).pending(plan) == [2, 3, 4, 5]
    assert looked == [part_key(2)]


def test_where_it_is_not_known_what_was_asked_for_every_part_is_looked_into(place: str) -> None:
    store, plan = open_store(place), ShardPlan(24, 4)
    Ledger(store).begin(DOCUMENT)
    for shard in (0, 2):
        Ledger(store).commit(shard, table_of(PLAN, shard), PLAN.expected_rows(shard))
    for target in (None, b'{"n": 12}', b'{"n": 12, "asked": "all"}'):
        if target is not None:
            store.put(TARGET_KEY, target)
        assert Ledger(store).pending(plan) == [1, 2, 3, 4, 5]
        Ledger(store).begin(DOCUMENT, n=24)  # tells no more of what was asked before
        assert Ledger(store).pending(plan) == [1, 2, 3, 4, 5]


def test_a_short_part_that_nobody_knows_of_is_found_at_the_end_and_made_again(place: str) -> None:
    store, plan = open_store(place), ShardPlan(12, 4)
    begin(store, plan)
    for shard in range(2):
        write_shard(store, plan, shard)
    write_shard(store, PLAN, 2)  # as if it came from a copy of the release
    assert Ledger(store).pending(plan) == []
    with pytest.raises(ReleaseError, match="1 of 3 shards are not done"):
        finalise(store, plan, document())
    assert Ledger(store).pending(plan) == [2]
    write_shard(store, plan, 2)
    assert finalise(store, plan, document())["counts"]["samples"] == 12
    assert store.get(TARGET_KEY) == json_bytes({"n": 12, "asked": [12]})


def test_of_many_committers_of_a_shard_one_commits_and_the_others_are_told(place: str) -> None:
    store, barrier = open_store(place), threading.Barrier(6)
    Ledger(store).begin(DOCUMENT)
    larger = ShardPlan(12, 4)

    def commit(writer: int) -> str:
        plan = larger if writer % 2 else PLAN  # half of them know of a larger release
        table = table_of(plan, 2)
        barrier.wait()
        return Ledger(store).commit(2, table, plan.expected_rows(2))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(commit, range(6)))
    # The full part is committed once; the partial one at most once, before it.
    assert answers[1::2].count("committed") == 1
    assert answers[0::2].count("committed") <= 1
    assert store.get(part_key(2)) == parquet_bytes(table_of(larger, 2))


def test_two_writers_that_made_a_sample_differently_are_told(place: str) -> None:
    ledger = Ledger(open_store(place))
    ledger.begin(DOCUMENT)
    ledger.commit(0, table_of(PLAN, 0), 4)
    other = rows_table([row(index, b"other") for index in range(4)], SCHEMA)
    with pytest.raises(ReleaseError, match="committed by another writer") as caught:
        ledger.commit(0, other, 4)
    assert caught.value.exit_code == 1


def test_a_part_that_is_not_what_was_asked_is_a_fault_of_ours(place: str) -> None:
    ledger = Ledger(open_store(place))
    for indices in ([0, 1, 2], [0, 1, 2, 4], []):
        table = rows_table([row(index, b"x") for index in indices], SCHEMA)
        with pytest.raises(ValueError, match="not 4 consecutive rows"):
            ledger.commit(0, table, 4)
    assert list(ledger.store.list()) == []


def test_a_plan_is_kept_and_compared(place: str) -> None:
    ledger = Ledger(open_store(place))
    assert ledger.plan() is None
    stored = ledger.begin(DOCUMENT)
    assert stored["fields"] == DOCUMENT["fields"]
    assert Ledger(open_store(place)).begin(DOCUMENT) == stored == ledger.plan()


def test_another_plan_is_refused_by_naming_what_differs(place: str) -> None:
    ledger = Ledger(open_store(place))
    ledger.begin(DOCUMENT)
    other = {
        **DOCUMENT,
        "fingerprint": "b",
        "fields": {"seed": 2, "model": {"name": "demo", "steps": 25}},
    }
    with pytest.raises(ReleaseError) as caught:
        ledger.begin(other)
    assert "model.steps is 50 there and 25 now; seed is 1 there and 2 now" in str(caught.value)
    assert "name is" not in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(ReleaseError, match="shard_size is 4 there and 8 now"):
        ledger.begin({**DOCUMENT, "shard_size": 8})


def test_of_two_drivers_that_begin_at_once_with_other_plans_one_is_refused(place: str) -> None:
    store, barrier = open_store(place), threading.Barrier(2)

    def begin(seed: int) -> str:
        barrier.wait()
        try:
            Ledger(store).begin({"fingerprint": str(seed), "fields": {"seed": seed}})
        except ReleaseError:
            return "refused"
        return "begun"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(begin, (1, 2))) == ["begun", "refused"]


def test_a_place_with_other_files_is_left_alone(place: str) -> None:
    store = open_store(place)
    store.put("thesis.docx", b"precious")
    with pytest.raises(ReleaseError, match=r"holds thesis\.docx and no release begun here"):
        Ledger(store).begin(DOCUMENT)
    assert [entry.key for entry in store.list()] == ["thesis.docx"]


def test_the_largest_target_is_kept(place: str) -> None:
    ledger = Ledger(open_store(place))
    ledger.begin(DOCUMENT)
    assert ledger.target() is None
    for n, kept in ((10, 10), (20, 20), (5, 20)):
        ledger.begin(DOCUMENT, n=n)
        assert ledger.target() == kept


def test_a_broken_ledger_is_told_in_one_line(place: str) -> None:
    store = open_store(place)
    store.put(part_key(0), b"PAR1 cut off")
    store.put("manifest/plan.json", b"{cut off")
    with pytest.raises(ReleaseError, match=r"plan\.json: not JSON"):
        Ledger(store).begin(DOCUMENT)
    with pytest.raises(ReleaseError, match="not a readable Parquet file"):
        Ledger(store).done(PLAN)
    store.put("manifest/plan.json", b'{"version": 99}')
    with pytest.raises(ReleaseError, match="plan version 99, expected 1"):
        Ledger(store).plan()


def test_a_storage_that_is_away_says_nothing_about_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever counts rows meanwhile must not be told to remove one."""

    def away(store: object, key: str) -> int:
        raise StorageError("no answer", 1)

    ledger = Ledger(open_store(tmp_path))
    ledger.commit(0, table_of(PLAN, 0), 4)
    monkeypatch.setattr("manifests.ledger.ledger.row_count", away)
    with pytest.raises(StorageError, match="no answer") as caught:
        ledger.done(PLAN)
    assert "remove" not in str(caught.value)
