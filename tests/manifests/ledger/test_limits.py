"""What a writer may write, its readers read: as many shards, rows and bytes as a plan allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ReleaseError
from manifests.format import json_text, parquet
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import RELEASE_KEY, part_key
from manifests.format.parquet import MOST_ROWS, table_from_bytes
from manifests.format.release_json import read_release
from manifests.ledger import ShardPlan
from manifests.ledger.finalise import finalise
from manifests.ledger.plan import MOST_SHARDS
from manifests.query.release import Release
from manifests.storage import open_store
from ray_jobs.cli import main
from tests.manifests.releases import begin, document, make_release, write_shard

SPARE = 2**20  # of release.json: for all but the parts, page, evaluation and earlier versions too


def test_the_release_json_of_as_many_shards_as_a_plan_may_have_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 1)
    about = read_release(store)
    parts = [
        {"key": part_key(shard), "sha256": f"{shard:064x}", "rows": MOST_ROWS // MOST_SHARDS}
        for shard in range(MOST_SHARDS)
    ]
    data = json_bytes({**about, "parts": parts})
    assert len(data) < MOST_JSON_BYTES - SPARE
    store.put(RELEASE_KEY, data)
    assert len(Release.open(tmp_path).about["parts"]) == MOST_SHARDS
    assert main(["info", str(tmp_path)]) == 0, capsys.readouterr()


def test_ten_million_samples_are_planned_in_shards_of_64_and_refused_in_smaller_ones() -> None:
    assert ShardPlan(MOST_ROWS, 64).count == 156_250 <= MOST_SHARDS
    with pytest.raises(ReleaseError) as told:
        ShardPlan(MOST_ROWS, 8)
    assert str(told.value) == (
        "10,000,000 samples in 1,250,000 shards of 8: expected at most 200,000 shards; begin the"
        " release with larger ones (--shard-size 50 or more)"
    )
    assert ShardPlan(MOST_ROWS, 50).count == MOST_SHARDS
    with pytest.raises(ReleaseError, match="10,000,001 samples: expected at most 10,000,000"):
        ShardPlan(MOST_ROWS + 1, 64)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda text: text.isascii()),
        st.lists(st.text(alphabet="ab,[{é", max_size=12) | st.integers(-9, 9), max_size=8),
        max_size=6,
    )
)
def test_json_that_can_be_written_can_be_read(found: dict[str, list[str | int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "MOST_JSON_BYTES", 200)
        patch.setattr(json_text, "MOST_VALUES", 20)
        try:
            data = json_bytes(found)
        except ReleaseError as error:
            told = str(error)
        else:
            told = ""
            assert parse_json(data, "it") == found
    assert not told or "larger than its readers take" in told
    assert len(told.splitlines()) <= 1


LIMITS = {
    "rows": (parquet, "MOST_ROWS", 9, "10 rows, expected at most 9"),
    "bytes of the file": (parquet, "MOST_FILE_BYTES", 2000, "bytes, expected at most 2,000"),
    "bytes in memory": (parquet, "budget_of", lambda _: 10, "when unpacked, expected at most 10"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_manifest_that_no_reader_takes_is_not_written(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = ShardPlan(10, 4), open_store(tmp_path)
    begin(store, plan)
    for shard in range(plan.count):
        write_shard(store, plan, shard)
    before = {entry.key for entry in store.list()}
    module, name, most, told = LIMITS[limit]
    monkeypatch.setattr(module, name, most)
    with pytest.raises(ReleaseError, match=told):
        finalise(store, plan, document())
    assert {entry.key for entry in store.list()} == before
    monkeypatch.undo()
    finalise(store, plan, document())
    assert table_from_bytes(store.get("manifest.parquet"), "it").num_rows == 10
