"""The worker: holds the model, prints a shard's volumes, and commits them as one part."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

from manifests.format.layout import part_key
from manifests.format.parquet import table_from_bytes
from manifests.format.schema import FAILED, manifest_schema, rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from manifests.storage.base import Store
from ray_jobs.generation.covariates import CovariateSource
from ray_jobs.generation.environment import one_thread, prepare_process
from ray_jobs.generation.metrics import Stage, Tally
from ray_jobs.generation.plan import LOADER, batches
from ray_jobs.generation.press import Draw, draw_batch
from ray_jobs.generation.rows import QUALITY_COLUMNS, Stored, covariate_columns, manifest_row
from ray_jobs.generation.writers import Writers

if TYPE_CHECKING:
    import numpy as np

    from ldm.covariates import Row
    from ldm.models.base import LoadedModel
    from ldm.models.description import ModelDescription
    from ldm.volumes.quality import Quality


LOAD_PAUSE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PrintJob:
    """All that a worker must know; pickled to each.

    Attributes:
        out: URI of the release.
        model: where the model is; every worker loads it once.
        model_fingerprint: of the model that the plan was made with.
        device: "cpu" or "cuda".
        precision: "bf16" or "fp32".
        compiled: whether the networks go through `torch.compile`.
        seed, steps, sampler, attempts, eta, guidance: see `plan.Options`.
        batch_size: volumes of a forward pass.
        shards: how the samples are cut.
        source: the covariates of each sample.
        writers: threads that compress and upload.
        storage_patience_seconds: how long to wait for a storage that is away.
        loader: what loads the model, "module:function"; see `plan.Options`.
    """

    out: str
    model: str
    model_fingerprint: str
    device: str
    precision: str
    seed: int
    steps: int
    sampler: str
    attempts: int
    batch_size: int
    shards: ShardPlan
    source: CovariateSource
    writers: int
    eta: float = 0.0
    guidance: float = 1.0
    storage_patience_seconds: float = 0.0
    loader: str = LOADER
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What became of a shard: rows committed, of them failed, and what that took."""

    shard: int
    rows: int
    failed: int
    seconds: float
    tally: Tally


class Printer:
    """Prints shards. An actor on Ray, and a plain object anywhere else.

    Several shards may be asked of it at once, each from a thread of its own: the device draws
    for one at a time, while volumes of the other are checked and stored.
    """

    def __init__(self, job: PrintJob, environment: Mapping[str, str]) -> None:
        prepare_process(job.device, environment)
        self.job = job
        self._drawing, self._counting = threading.Lock(), threading.Lock()
        self._stored: dict[int, int] = {}  # shard in hand -> volumes stored so far
        self._store: Store | None = None
        self._model: LoadedModel | None = None

    def load(self) -> str | None:
        """Load the model; in one line, why it cannot be, where any other worker would fail too.

        Waits for an S3 server that is away as patiently as for the release's.
        """
        job = self.job
        try:
            load = resolve_name(job.loader)
        except (ImportError, AttributeError, ValueError) as error:
            expected = 'expected "module:function", importable on every worker'
            return f"loader {job.loader}: {error}; {expected}"
        more = {"compiled": True} if job.compiled else {}
        until = time.monotonic() + job.storage_patience_seconds
        try:
            with one_thread(job.device):
                model = patiently(
                    lambda: load(job.model, device=job.device, precision=job.precision, **more),
                    until=until,
                )
        except Exception as error:
            if isinstance(getattr(error, "exit_code", None), int):
                return str(error)
            raise
        if model.fingerprint != self.job.model_fingerprint:
            return (
                f"model {self.job.model}: another one lies there on a worker's machine "
                f"(fingerprint {model.fingerprint[:12]}, expected "
                f"{self.job.model_fingerprint[:12]}); copy it to every machine, or use s3://"
            )
        self._model = model
        self._store = open_store(self.job.out).patient(self.job.storage_patience_seconds)
        return None

    def progress(self) -> dict[int, int]:
        """Volumes stored by now of each shard in hand."""
        return dict(self._stored)

    def print_shard(self, shard: int) -> ShardReport:
        """Draw and store every volume of a shard that no row tells of yet, then commit the rows.

        Raises:
            ReleaseError: the store refuses.
        """
        assert self._store is not None
        started = time.monotonic()
        ledger, job = Ledger(self._store), self.job
        indices = job.shards.indices(shard)
        schema = manifest_schema(covariate_columns(job.source.schema), QUALITY_COLUMNS)
        rows = {row["index"]: row for row in self._rows_of(shard) if row["index"] in indices}
        self._stored[shard] = 0
        tally = Tally(host=socket.gethostname())
        try:
            for row in self._print([i for i in indices if i not in rows], shard, tally):
                rows[row["index"]] = row
                tally.add_row(row)
            table = rows_table(rows.values(), schema)
            with tally.stage(Stage.COMMIT):
                ledger.commit(shard, table, len(indices))
        finally:
            del self._stored[shard]
        return ShardReport(
            shard=shard,
            rows=len(rows),
            failed=sum(row["status"] == FAILED for row in rows.values()),
            seconds=time.monotonic() - started,
            tally=tally,
        )

    def time_batch(self, steps: int) -> tuple[float, float]:
        """Seconds of one full batch at so many steps, and the mean bytes of its volumes."""
        from ldm.volumes.conversion import to_nifti_bytes

        assert self._model is not None
        job, model = self.job, self._model
        batch = range(job.batch_size)
        covariates = [job.source.draw(job.seed, index) for index in batch]
        keys: list[tuple[int, ...]] = [(job.seed, index, 0) for index in batch]
        started = time.monotonic()
        with one_thread(self.job.device):
            volumes = model.generate(
                covariates,
                keys,
                steps=steps,
                sampler=job.sampler,
                eta=job.eta,
                guidance=job.guidance,
            )
            sizes = [len(to_nifti_bytes(levels, model.grid)) for levels in volumes]
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

    def _print(self, indices: list[int], shard: int, tally: Tally) -> Iterator[dict[str, Any]]:
        """The rows of `indices`, once their volumes are stored."""
        if not indices:
            return
        job = self.job
        waiting = 2 * job.batch_size
        with Writers[dict[str, Any]](threads=job.writers, waiting=waiting) as writers:
            futures: list[Future[dict[str, Any]]] = []
            with one_thread(self.job.device):
                for draw in self._draw(indices, tally):
                    with tally.stage(Stage.WAIT):
                        futures.append(writers.submit(partial(self._keep, draw, shard, tally)))
                    raise_first(futures)  # draw no further for a store that refuses
            for future in futures:
                yield future.result()

    def _draw(self, indices: list[int], tally: Tally) -> Iterator[Draw]:
        assert self._model is not None
        job, model, wanted = self.job, self._model, set(indices)
        for batch in batches(range(indices[0], indices[-1] + 1), job.batch_size):
            if wanted.isdisjoint(batch):
                continue
            yield from draw_batch(
                OneAtATime(model, self._drawing, tally),
                tally.timed(Stage.CHECK, partial(check_asked, model.description)),
                [job.source.draw(job.seed, index) for index in batch],
                batch=batch,
                wanted=wanted,
                seed=job.seed,
                steps=job.steps,
                sampler=job.sampler,
                eta=job.eta,
                guidance=job.guidance,
                attempts=job.attempts,
            )

    def _keep(self, draw: Draw, shard: int, tally: Tally) -> dict[str, Any]:
        """Store a drawn volume; its row."""
        from ldm.volumes.conversion import to_nifti_bytes

        assert self._model is not None
        assert self._store is not None
        stored = None
        if draw.levels is not None:
            with tally.stage(Stage.COMPRESS):
                data = to_nifti_bytes(draw.levels, self._model.grid)
                stored = Stored.of(draw.index, data)
            with tally.stage(Stage.UPLOAD):
                self._store.put(stored.path, data)
        row = manifest_row(draw, stored, schema=self.job.source.schema, seed=self.job.seed)
        with self._counting:
            self._stored[shard] += 1
        return row


def check_asked(description: ModelDescription, levels: np.ndarray, asked: Row) -> Quality:
    """The quality check of a volume, by its model's bounds.

    Of covariates beyond the cohort's nobody knows how large a brain they make: that figure is
    told, and refuses nothing.
    """
    from ldm.volumes.quality import SIZE_ERROR, check

    bounds = description.bounds
    if description.schema.is_extrapolated(asked):
        bounds = {name: pair for name, pair in bounds.items() if name != SIZE_ERROR}
    return check(levels, bounds, size=description.brain_size, asked=asked)


class OneAtATime:
    """A model that draws one batch at a time, of whatever shard, and whose drawing is counted.

    While one shard's volumes are checked, the device draws for the other in hand.
    """

    def __init__(self, model: LoadedModel, drawing: threading.Lock, tally: Tally) -> None:
        self._generate = tally.timed(Stage.DRAW, model.generate)
        self._drawing = drawing

    def generate(self, *args: Any, **options: Any) -> Any:
        with self._drawing:
            return self._generate(*args, **options)


def patiently(load: Callable[[], T], *, until: float) -> T:
    """What `load` gives; again, until that monotonic second, while an S3 server is away."""
    from manifests.storage.s3.errors import passes

    while True:
        try:
            return load()
        except Exception as error:
            link: BaseException | None = error
            while link is not None and not passes(link):  # told in one line, its causes behind it
                link = link.__cause__ or link.__context__
            if link is None or time.monotonic() > until:
                raise
            time.sleep(LOAD_PAUSE_SECONDS)


def raise_first(futures: Iterable[Future[Any]]) -> None:
    """Raise the error of a job that has failed already, if there is one."""
    for future in futures:
        if future.done():
            future.result()
