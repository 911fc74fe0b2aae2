"""Workers that draw samples of a finished release again: lost images, and samples that failed."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from manifests.changes.lease import check_held
from manifests.format.schema import FAILED, rows_table
from manifests.ledger.redrawn import replace_failed
from ray_jobs.generation.worker.assignment import Again, Assignment, ShardReport, Why
from ray_jobs.generation.worker.doubts import Draws, unlike_before
from ray_jobs.generation.worker.rows import Stored
from ray_jobs.generation.worker.tally import Stage, Tally
from ray_jobs.generation.worker.worker import Worker


class AgainWorker(Worker):
    """Draws what is asked for of a shard, and stores it while the driver has the lease."""

    @property
    def again(self) -> Again:
        assert self.assignment.again is not None
        return self.assignment.again

    def leave(self, shard: int) -> None:
        """Not of what is drawn again: there is no part that another worker could complete."""

    def print_shard(self, shard: int, settled: Draws = frozenset()) -> ShardReport:
        """Draw again what is asked for of a shard.

        Args:
            settled: draws that are known to fail, or to come out otherwise, on whatever device.

        Raises:
            DoubtfulError: draws are not finite, or not as they were, and not settled.
            LostLeaseError: somebody else may change the release now.
            ReleaseError: the store refuses.
        """
        started, tally = time.monotonic(), self._tally()
        indices = self.assignment.shards.indices(shard)
        wanted = {i: self.again.attempts[i] for i in indices if i in self.again.attempts}
        self._stored[shard] = 0
        try:
            rows = []
            for row in self._print(wanted, settled, shard, tally, []):
                rows.append(row)
                tally.add_row(row)
            unlike = self._settle(shard, rows, settled, tally)
        finally:
            del self._stored[shard]
        return ShardReport(
            shard=shard,
            rows=len(rows),
            failed=sum(row["status"] == FAILED for row in rows),
            seconds=time.monotonic() - started,
            tally=tally,
            unlike=unlike,
        )

    @abstractmethod
    def _settle(
        self, shard: int, rows: list[dict[str, Any]], settled: Draws, tally: Tally
    ) -> tuple[int, ...]:
        """Take in the rows of what was drawn; the samples that did not come out as they were."""

    def _put(self, index: int, stored: Stored, data: bytes) -> None:
        assert self._store is not None
        check_held(self._store, self.again.lease)
        super()._put(index, stored, data)


class ComparingWorker(AgainWorker):
    """Holds what it draws against the manifest."""

    def _settle(
        self, shard: int, rows: list[dict[str, Any]], settled: Draws, tally: Tally
    ) -> tuple[int, ...]:
        unlike = [row for row in rows if not self._is_as_it_was(row["index"], row["sha256"])]
        found = frozenset((row["index"], row["attempt"]) for row in unlike)
        if found - settled:
            raise unlike_before(found)
        return tuple(row["index"] for row in unlike)

    def _is_as_it_was(self, index: int, digest: str | None) -> bool:
        assert self.again.digests is not None
        return digest == self.again.digests[index]


class Rechecker(ComparingWorker):
    """Draws samples again to compare them alone; stores nothing."""

    def _put(self, index: int, stored: Stored, data: bytes) -> None:
        pass


class Repairer(ComparingWorker):
    """Makes lost images again, and stores those alone that come out as they were."""

    def _put(self, index: int, stored: Stored, data: bytes) -> None:
        if self._is_as_it_was(index, stored.sha256):
            super()._put(index, stored, data)


class Redrawer(AgainWorker):
    """Draws on where every attempt failed, and puts the new rows in place of those that say so."""

    def _settle(
        self, shard: int, rows: list[dict[str, Any]], settled: Draws, tally: Tally
    ) -> tuple[int, ...]:
        assert self._store is not None
        check_held(self._store, self.again.lease)
        with tally.stage(Stage.COMMIT):
            replace_failed(self._store, shard, rows_table(rows, self.row_schema))
        return ()


def kind_of_worker(assignment: Assignment) -> type[Worker]:
    """Which worker does what is assigned."""
    if assignment.again is None:
        return Worker
    return {Why.RECHECK: Rechecker, Why.REPAIR: Repairer, Why.REDRAW: Redrawer}[
        assignment.again.why
    ]
