"""The two files that hold all rows of a release, written as the rows come: few are in memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.layout import MANIFEST_KEY, PARTICIPANTS_KEY
from manifests.format.parquet import ROW_GROUP_ROWS, check_written, parquet_writer
from manifests.format.schema import OK, WITHDRAWN, Column
from manifests.metadata.bids import participants_header, participants_lines

# Small tables, of a shard each, take more than their rows: they are merged when there are so many.
MOST_TABLES = 256


class RowFiles:
    """manifest.parquet and participants.tsv of the rows added so far, on this machine's disk.

    Their bytes are a function of the rows alone, and not of how many came at a time: those of
    `parquet_bytes` and `participants_tsv` of all rows.

    Attributes:
        counts: samples, ok, failed and image_bytes, as release.json tells them; and withdrawn,
            where some are.
    """

    def __init__(self, schema: pa.Schema, columns: tuple[Column, ...]) -> None:
        self.counts = dict.fromkeys(("samples", "ok", "failed", "image_bytes"), 0)
        self._columns = columns
        self._folder = TemporaryDirectory(prefix="brainpress-")
        keys = (PARTICIPANTS_KEY, MANIFEST_KEY)
        self._paths = {key: Path(self._folder.name, key) for key in keys}
        self._rest = schema.empty_table()
        self._new: list[pa.Table] = []
        self._held: list[pa.Table] = []  # merged
        self._held_rows = 0
        self._bytes = 0  # of the rows written, in memory
        self._manifest = parquet_writer(self._paths[MANIFEST_KEY], schema)
        self._participants = self._paths[PARTICIPANTS_KEY].open("wb")
        self._participants.write(participants_header(columns))

    def add(self, table: pa.Table) -> None:
        """Take in the next rows, in order of their index."""
        self._new.append(table)
        self._held_rows += table.num_rows
        if len(self._new) == MOST_TABLES:
            self._merge()
        if self._held_rows >= ROW_GROUP_ROWS:
            self._write_groups()

    def close(self) -> dict[str, Path]:
        """Write what is held; the files, by key. They go when the context ends.

        Raises:
            ReleaseError: more rows or bytes than a reader of the manifest takes; exit code 1.
        """
        self._write_groups(last=True)
        self._manifest.close()
        self._participants.close()
        check_written(self._paths[MANIFEST_KEY], self._bytes)
        return self._paths

    def _merge(self) -> None:
        if self._new:
            self._held.append(pa.concat_tables(self._new).combine_chunks())
            self._new = []

    def _write_groups(self, *, last: bool = False) -> None:
        """Whole row groups; the rest, which is less than one, only if it is the last."""
        self._merge()
        table = pa.concat_tables(self._held or [self._rest])
        whole = table.num_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        for start in range(0, whole, ROW_GROUP_ROWS):
            self._write(table.slice(start, ROW_GROUP_ROWS))
        rest = table.slice(whole)
        if last and (rest.num_rows or not self.counts["samples"]):
            self._write(rest)
            rest = rest.slice(rest.num_rows)
        self._held, self._held_rows = [rest], rest.num_rows

    def _write(self, group: pa.Table) -> None:
        group = group.combine_chunks()  # pages are cut where chunks end
        ok = pc.equal(group["status"], OK)
        found = {
            "samples": group.num_rows,
            "ok": pc.sum(ok).as_py() or 0,
            "image_bytes": pc.sum(group["bytes"]).as_py() or 0,
        }
        withdrawn = pc.sum(pc.equal(group["status"], WITHDRAWN)).as_py() or 0
        found["failed"] = found["samples"] - found["ok"] - withdrawn
        if withdrawn:
            found["withdrawn"] = withdrawn
        for name, number in found.items():
            self.counts[name] = self.counts.get(name, 0) + number
        self._bytes += group.nbytes
        self._manifest.write_table(group, row_group_size=ROW_GROUP_ROWS)
        self._participants.write(participants_lines(group, self._columns))

    def __enter__(self) -> RowFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manifest.close()
        self._participants.close()
        self._folder.cleanup()
