"""What a run tells Prometheus: volumes, bytes, seconds by stage, retries, and whose they are.

Workers keep a `Tally` of each shard, plain numbers, and send it with the shard's report; the driver
alone speaks to Ray, which serves everything as `ray_<name>` from the metrics port of its machine.
So a metric counts committed work exactly once, and a worker that is ended at once takes none along.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ray_jobs.generation.worker.environment import Place
from ray_jobs.generation.worker.tally import Tally

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


class Kind(StrEnum):
    """As in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Metric(NamedTuple):
    """A metric's kind, its line of help, and its labels besides `release`."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


# Seconds are a counter and not a histogram: Ray 2.60 rebuilds histograms from the middles of their
# buckets, so that their sums are wrong.
METRICS: dict[str, Metric] = {
    "brainpress_volumes_total": Metric(
        Kind.COUNTER, "Volumes stored and committed", ("host", "device")
    ),
    "brainpress_bytes_total": Metric(Kind.COUNTER, "Bytes of those volumes", ("host", "device")),
    "brainpress_failed_volumes_total": Metric(
        Kind.COUNTER, "Samples that failed the quality check at every attempt", ("host", "device")
    ),
    "brainpress_stage_seconds_total": Metric(
        Kind.COUNTER, "Seconds of committed shards, by stage", ("host", "device", "stage")
    ),
    "brainpress_worker_seconds_total": Metric(
        Kind.COUNTER, "Seconds that workers were ready; draw seconds over these: the GPU share"
    ),
    "brainpress_retries_total": Metric(
        Kind.COUNTER, "What was tried again: a shard, or the draw of a volume", ("of",)
    ),
    "brainpress_lost_workers_total": Metric(
        Kind.COUNTER, "Workers that died or raised", ("host", "device")
    ),
    "brainpress_given_up_shards_total": Metric(
        Kind.COUNTER, "Shards that failed too often; the run ends incomplete"
    ),
    "brainpress_workers": Metric(Kind.GAUGE, "Workers ready now"),
    "brainpress_wanted_volumes": Metric(Kind.GAUGE, "Volumes of the release (--n)"),
    "brainpress_done_volumes": Metric(
        Kind.GAUGE, "Volumes done by now, by this run and earlier ones"
    ),
}
PREFIX = "ray_"  # which Ray puts before every name


class RunMetrics:
    """The driver's side: events in, Prometheus numbers out through `ray.util.metrics`.

    Args:
        out: URI of the release.
        wanted: volumes of the release.
        already: of them made by earlier runs.
    """

    def __init__(self, out: str, *, wanted: int, already: int) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge}
        labels = {"release": release_label(out)}
        self._metrics: dict[str, Any] = {}
        for name, metric in METRICS.items():
            made: Any = kinds[metric.kind](name, metric.help, ("release", *metric.labels))
            self._metrics[name] = made.set_default_tags(labels)
        self._wanted, self._already = wanted, already
        self._ready = (0.0, 0)  # since when, how many

    def committed(self, tally: Tally) -> None:
        """A shard is in the store."""
        host = {"host": tally.host, "device": tally.device}
        self._add("brainpress_volumes_total", tally.volumes, **host)
        self._add("brainpress_bytes_total", tally.bytes, **host)
        self._add("brainpress_failed_volumes_total", tally.failed, **host)
        self._add("brainpress_retries_total", tally.redraws, of="volume")
        for stage, seconds in tally.seconds.items():
            self._add("brainpress_stage_seconds_total", seconds, stage=str(stage), **host)

    def retried(self) -> None:
        """A shard goes to another worker."""
        self._add("brainpress_retries_total", 1, of="shard")

    def gave_up(self) -> None:
        """A shard has failed too often."""
        self._add("brainpress_given_up_shards_total", 1)

    def lost_worker(self, place: Place | None) -> None:
        """A worker died, or raised and was replaced; None where it never found a place."""
        where = {"host": place.host, "device": place.device} if place else {}
        self._add("brainpress_lost_workers_total", 1, **{"host": "", "device": "", **where})

    def ready(self, workers: int, now: float) -> None:
        """So many workers are ready since `now` (monotonic seconds); cheap, call it often."""
        then, before = self._ready
        self._add("brainpress_worker_seconds_total", before * (now - then))
        self._ready = now, workers

    def progressed(self, done: int) -> None:
        """This run has made `done` volumes by now."""
        self._metrics["brainpress_workers"].set(self._ready[1])
        self._metrics["brainpress_wanted_volumes"].set(self._wanted)
        self._metrics["brainpress_done_volumes"].set(min(self._wanted, self._already + done))

    def _add(self, name: str, value: float, **labels: str) -> None:
        if value > 0:  # Ray refuses to add nothing
            told = {label: in_ascii(text) for label, text in labels.items()}
            self._metrics[name].inc(value, tags=told)


def release_label(uri: str) -> str:
    """The release's address without anything that might be a secret, in ASCII as Ray wants it.

    >>> release_label("s3://key:secret@bucket/releases/one?token=hush")
    's3://bucket/releases/one'
    >>> release_label("/home/müller/release")
    '/home/m%C3%BCller/release'
    """
    parts = urlsplit(uri) if "://" in uri else None
    if parts is None or not parts.scheme:
        return in_ascii(uri)
    return in_ascii(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def in_ascii(text: str) -> str:
    """`text` with what is not a printable ASCII character as `%XX`, the bytes of its UTF-8."""
    return quote(os.fsencode(text), safe=_PRINTABLE)
