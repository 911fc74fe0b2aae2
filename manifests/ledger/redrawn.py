"""Samples that failed and were drawn again: their rows take the place of those that say so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.layout import part_key
from manifests.format.parquet import MOST_PART_BYTES, parquet_bytes, table_from_bytes
from manifests.format.schema import FAILED
from manifests.storage.base import Store


def replace_failed(store: Store, shard: int, made: pa.Table) -> None:
    """Put rows into the part of a shard, each in place of one of the same sample that failed.

    All other rows stay, and so does one that was withdrawn or drawn again meanwhile.

    Raises:
        KeyError: the shard has no part.
        ReleaseError: its part is damaged.
    """
    key = part_key(shard)
    while True:
        data, etag = store.get_with_etag(key, most=MOST_PART_BYTES)
        there = table_from_bytes(data, f"{store.uri}/{key}")
        new = with_redrawn(there, made)
        if new.equals(there) or store.replace(key, parquet_bytes(new), etag=etag):
            return


def with_redrawn(there: pa.Table, made: pa.Table) -> pa.Table:
    """`there`, with rows of `made` in place of those that failed."""
    failed = pc.equal(there["status"], FAILED)
    replaced = pc.and_(failed, pc.is_in(there["index"], made["index"].combine_chunks()))
    indices = there.filter(replaced)["index"].combine_chunks()
    rows = [there.filter(pc.invert(replaced)), made.filter(pc.is_in(made["index"], indices))]
    return pa.concat_tables(rows).sort_by("index").combine_chunks()
