"""Laws of the ledger: a release depends on its plan, not on who made it, when or in which order."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.format.layout import part_key
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.schema import rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from tests.manifests.releases import SCHEMA, row

sizes = st.integers(1, 7)
counts = st.integers(1, 24)


def table_of(plan: ShardPlan, shard: int) -> pa.Table:
    return rows_table([row(index, b"%d" % index) for index in plan.indices(shard)], SCHEMA)


@given(n=st.integers(1, 500), size=st.integers(1, 60))
def test_shards_cover_every_sample_once(n: int, size: int) -> None:
    plan = ShardPlan(n, size)
    seen = [index for shard in range(plan.count) for index in plan.indices(shard)]
    assert seen == list(range(n))
    assert sum(plan.expected_rows(shard) for shard in range(plan.count)) == n


@given(n=counts, more=counts, size=sizes)
def test_a_larger_plan_keeps_every_whole_shard(n: int, more: int, size: int) -> None:
    plan, larger = ShardPlan(n, size), ShardPlan(n + more, size)
    for shard in range(plan.count):
        small, large = plan.indices(shard), larger.indices(shard)
        assert large[: len(small)] == small
        assert len(small) == len(large) or shard == plan.count - 1


@settings(max_examples=25)
@given(
    size=sizes,
    runs=st.lists(
        st.tuples(counts, st.integers(0, 24), st.randoms(use_true_random=False)),
        min_size=1,
        max_size=4,
    ),
    told=st.booleans(),
)
def test_any_history_of_interrupted_runs_ends_in_the_same_parts(
    size: int, runs: list[tuple[int, int, object]], told: bool
) -> None:
    """Runs of any n, each stopped after some commits, in any order of shards; then a whole one.

    With or without telling the ledger first what is asked for: if it is told, it looks into few
    parts, and otherwise into all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(open_store(Path(folder)))
        for n, lives, random in runs:
            plan = ShardPlan(n, size)
            ledger.begin({"fingerprint": "a", "shard_size": size}, n=n if told else None)
            pending = ledger.pending(plan)
            random.shuffle(pending)  # type: ignore[attr-defined]
            for shard in pending[:lives]:
                ledger.commit(shard, table_of(plan, shard), plan.expected_rows(shard))
            assert set(pending[:lives]) <= ledger.done(plan)
        largest = ShardPlan(max(n for n, _, _ in runs), size)
        for shard in ledger.pending(largest):
            ledger.commit(shard, table_of(largest, shard), largest.expected_rows(shard))
        assert Ledger(ledger.store).pending(largest) == []
        for shard in range(largest.count):
            assert ledger.store.get(part_key(shard)) == parquet_bytes(table_of(largest, shard))


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 12), max_size=4))
def test_parquet_bytes_do_not_depend_on_how_a_table_was_put_together(cuts: list[int]) -> None:
    whole = table_of(ShardPlan(12, 12), 0)
    edges = [0, *sorted(cuts), 12]
    pieces = [whole.slice(a, b - a) for a, b in pairwise(edges)]
    data = parquet_bytes(pa.concat_tables(pieces))
    assert data == parquet_bytes(whole)
    assert table_from_bytes(data, "x").equals(whole, check_metadata=True)
