"""The worker: holds the model, prints a shard's volumes, and commits them as one part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import cached_property, partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ldm.volumes.conversion import to_nifti_bytes
from manifests.format.layout import part_key
from manifests.format.parquet import table_from_bytes
from manifests.format.schema import FAILED, OK, manifest_schema, rows_table
from manifests.ledger import Ledger
from manifests.storage import open_to_write
from manifests.storage.base import Store
from ray_jobs.generation.plan import batches
from ray_jobs.generation.worker.assignment import Assignment, ShardReport
from ray_jobs.generation.worker.doubts import Draws
from ray_jobs.generation.worker.drawing import Draw, check_asked, draw_batch, volumes_of
from ray_jobs.generation.worker.environment import (
    Place,
    here,
    kind_of,
    one_thread,
    prepare_process,
)
from ray_jobs.generation.worker.loading import load_model
from ray_jobs.generation.worker.rejected import PICTURED, PREVIEW_KEY, nothing_passed, picture
from ray_jobs.generation.worker.rows import (
    QUALITY_COLUMNS,
    Stored,
    covariate_columns,
    manifest_row,
)
from ray_jobs.generation.worker.tally import Stage, Tally
from ray_jobs.generation.worker.writers import Writers
from ray_jobs.reach import Reached, reach

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ldm.models.base import LoadedModel


class Worker:
    """Prints shards. An actor on Ray, and a plain object anywhere else.

    Several shards may be asked of it at once, each from a thread of its own: the device draws
    for one at a time, while volumes of the other are checked and stored.
    """

    def __init__(
        self,
        assignment: Assignment,
        environment: Mapping[str, str],
        locate: Callable[[str], Place] = here,
    ) -> None:
        prepare_process(assignment.device, environment)
        self.assignment = assignment
        self._place = locate(assignment.device)
        self._drawing, self._counting = threading.Lock(), threading.Lock()
        self._stored: dict[int, int] = {}  # shard in hand -> volumes stored so far
        self._rows: dict[int, dict[int, dict[str, Any]]] = {}  # and their rows, with earlier ones
        self._leaves: set[int] = set()  # shards to be handed back
        self._store: Store | None = None
        self._model: LoadedModel | None = None

    def where(self) -> Place:
        """The machine and the device that it computes on."""
        return self._place

    @cached_property
    def _kind(self) -> str:
        return str(kind_of(self.assignment.device))

    def kind(self) -> str:
        """What it computes on: the accelerator and the version of PyTorch."""
        return self._kind

    def reach(self) -> Reached:
        """Whether the folder of the release is the driver's, on this machine; before `load`."""
        told = self.assignment
        assert told.note is not None
        store = open_to_write(told.out, endpoint_url=told.endpoint_url)
        return reach(store, told.note, self._place.host)

    def load(self) -> str | None:
        """Load the model; in one line, why it cannot be, where any other worker of its machine
        would fail too."""
        told = self.assignment
        try:
            self._model = load_model(told)
        except Exception as error:
            if isinstance(getattr(error, "exit_code", None), int):
                return str(error)
            raise
        self._store = open_to_write(told.out, endpoint_url=told.endpoint_url).patient(
            told.storage_patience_seconds
        )
        return None

    @property
    def row_schema(self) -> pa.Schema:
        """Of the rows that it makes."""
        columns = covariate_columns(
            self.assignment.recipe.source.schema, self.assignment.calibration
        )
        return manifest_schema(columns, QUALITY_COLUMNS, made_on=self.assignment.tells_kind)

    def progress(self) -> dict[int, int]:
        """Volumes stored by now of each shard in hand."""
        return dict(self._stored)

    def keep(self) -> dict[int, int]:
        """Commit what is stored by now of each shard in hand, so that nobody draws it again; how
        many samples of each. Whoever works on the shard may go on.

        A part that is short of rows is what a smaller plan leaves behind, and completed likewise:
        so only the samples from the shard's first on are kept, up to the first that is not stored.
        """
        with self._counting:
            begun = {shard: dict(rows) for shard, rows in self._rows.items()}
        kept = {shard: self._commit_begun(shard, rows) for shard, rows in begun.items()}
        return {shard: count for shard, count in kept.items() if count}

    def leave(self, shard: int) -> None:
        """Have the shard in hand end, as handed back, after the batch that is drawn now."""
        self._leaves.add(shard)

    def print_shard(self, shard: int, settled: Draws = frozenset()) -> ShardReport:
        """Draw and store every volume of a shard that no row tells of yet, then commit the rows;
        only those up to a batch where it is to be left meanwhile.

        Args:
            settled: draws that are known to fail on whatever device.

        Raises:
            ReleaseError: the store refuses.
            DoubtfulError: draws are not finite, and not settled.
            NothingPassedError: all of them failed, and no shard is committed yet.
        """
        assert self._store is not None
        started = time.monotonic()
        ledger, told = Ledger(self._store), self.assignment
        indices = told.shards.indices(shard)
        rows = {row["index"]: row for row in self._rows_of(shard) if row["index"] in indices}
        with self._counting:
            self._stored[shard], self._rows[shard] = 0, dict(rows)
        self._leaves.discard(shard)
        rejected: list[tuple[int, np.ndarray]] = []
        tally = self._tally()
        try:
            attempts = range(told.recipe.attempts)
            wanted = {index: attempts for index in indices if index not in rows}
            for row in self._print(wanted, settled, shard, tally, rejected):
                rows[row["index"]] = row
                tally.add_row(row)
            if len(rows) < len(indices):
                kept = self._commit_begun(shard, rows)
                return self._report(shard, list(rows.values())[:kept], started, tally, whole=False)
            self._refuse_hopeless(list(rows.values()), rejected, ledger)
            table = rows_table(rows.values(), self.row_schema)
            with tally.stage(Stage.COMMIT):
                ledger.commit(shard, table, len(indices))
        finally:
            with self._counting:
                del self._stored[shard], self._rows[shard]
        return self._report(shard, list(rows.values()), started, tally)

    def _report(
        self,
        shard: int,
        rows: list[dict[str, Any]],
        started: float,
        tally: Tally,
        *,
        whole: bool = True,
    ) -> ShardReport:
        return ShardReport(
            shard=shard,
            rows=len(rows),
            failed=sum(row["status"] == FAILED for row in rows),
            seconds=time.monotonic() - started,
            tally=tally,
            handed_back=not whole,
        )

    def _commit_begun(self, shard: int, rows: Mapping[int, dict[str, Any]]) -> int:
        """Commit what a shard has of rows from its first on; how many."""
        indices = self.assignment.shards.indices(shard)
        first = [rows[index] for index in takewhile(rows.__contains__, indices)]
        if not any(row["status"] == OK for row in first):
            return 0  # else a shard of nothing that passed could be the first of a release
        assert self._store is not None
        ledger = Ledger(self._store)
        ledger.distrust()  # before there is a short part that nobody would look for
        ledger.commit(shard, rows_table(first, self.row_schema), len(first))
        return len(first)

    def time_batch(self, steps: int) -> tuple[float, float]:
        """Seconds of one full batch at so many steps, and the mean bytes of its volumes."""
        assert self._model is not None
        recipe = self.assignment.recipe.of_steps(steps)
        batch = range(recipe.batch_size)
        covariates = recipe.covariates(batch)
        started = time.monotonic()
        with one_thread(self.assignment.device):
            volumes = volumes_of(self._model, recipe, batch, covariates)
            sizes = [len(to_nifti_bytes(levels, self._model.grid)) for levels in volumes]
        return time.monotonic() - started, sum(sizes) / len(sizes)

    def _rows_of(self, shard: int) -> list[dict[str, Any]]:
        """The rows of a part that an earlier, smaller plan committed."""
        assert self._store is not None
        try:
            data = self._store.get(part_key(shard))
        except KeyError:
            return []
        rows: list[dict[str, Any]] = table_from_bytes(data, part_key(shard)).to_pylist()
        return rows

    def _refuse_hopeless(
        self,
        rows: list[dict[str, Any]],
        rejected: list[tuple[int, np.ndarray]],
        ledger: Ledger,
    ) -> None:
        """End a run whose first shard has nothing that passed; its pictures are kept."""
        store = ledger.store
        if any(row["status"] != FAILED for row in rows) or ledger.parts():
            return
        if rejected:
            store.put(PREVIEW_KEY, picture(rejected))
        raise nothing_passed(rows, f"{store.uri}/{PREVIEW_KEY}")

    def _print(
        self,
        wanted: Mapping[int, range],
        settled: Draws,
        shard: int,
        tally: Tally,
        rejected: list[tuple[int, np.ndarray]],
    ) -> Iterator[dict[str, Any]]:
        """The rows of samples, once their volumes are stored; the first of those that failed
        are put into `rejected`.

        Args:
            wanted: the attempts that each may take, by index, in order.
            settled: draws that are known to fail on whatever device.
        """
        if not wanted:
            return
        told = self.assignment
        waiting = 2 * told.recipe.batch_size
        with Writers[dict[str, Any]](threads=told.writers, waiting=waiting) as writers:
            futures: list[Future[dict[str, Any]]] = []
            with one_thread(told.device):
                for draw in self._draw(wanted, settled, shard, tally):
                    if draw.rejected is not None and len(rejected) < PICTURED:
                        rejected.append((draw.index, draw.rejected))
                    with tally.stage(Stage.WAIT):
                        futures.append(writers.submit(partial(self._keep, draw, shard, tally)))
                    raise_first(futures)  # draw no further for a store that refuses
            for future in futures:
                yield future.result()

    def _draw(
        self, wanted: Mapping[int, range], settled: Draws, shard: int, tally: Tally
    ) -> Iterator[Draw]:
        assert self._model is not None
        recipe = self.assignment.recipe
        judge = partial(check_asked, self._model.description, recipe.quality)
        for batch in batches(range(min(wanted), max(wanted) + 1), recipe.batch_size):
            if shard in self._leaves:
                return
            if wanted.keys().isdisjoint(batch):
                continue
            yield from draw_batch(
                self._model,
                judge,
                recipe,
                batch,
                wanted=wanted,
                settled=settled,
                alone=self._drawing,
                tally=tally,
            )

    def _tally(self) -> Tally:
        return Tally(host=self._place.host, device=self._place.device)

    def _keep(self, draw: Draw, shard: int, tally: Tally) -> dict[str, Any]:
        """Store a drawn volume; its row."""
        assert self._model is not None
        assert self._store is not None
        stored = None
        if draw.levels is not None:
            with tally.stage(Stage.COMPRESS):
                data = to_nifti_bytes(draw.levels, self._model.grid)
                suffix = self._model.description.suffix_of(draw.covariates)
                stored = Stored.of(draw.index, data, suffix)
            with tally.stage(Stage.UPLOAD):
                self._put(draw.index, stored, data)
        recipe = self.assignment.recipe
        row = manifest_row(
            draw,
            stored,
            schema=recipe.source.schema,
            seed=recipe.seed,
            made_on=self._kind if self.assignment.tells_kind else None,
            calibration=self.assignment.calibration,
        )
        with self._counting:
            self._stored[shard] += 1
            self._rows.get(shard, {})[draw.index] = row
        return row

    def _put(self, index: int, stored: Stored, data: bytes) -> None:
        assert self._store is not None
        self._store.put(stored.path, data)


def raise_first(futures: Iterable[Future[Any]]) -> None:
    """Raise the error of a job that has failed already, if there is one."""
    for future in futures:
        if future.done():
            future.result()
