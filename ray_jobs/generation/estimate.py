"""What a run would make, take and cost, from a measured rate: pure arithmetic and its words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from manifests.numbers import human_seconds
from ray_jobs.generation.plan import batches

__all__ = ["Estimate", "Measured", "counted", "estimate", "human_seconds", "in_bytes"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one worker showed on one batch.

    Attributes:
        seconds_per_batch: of a full batch, at the asked number of steps.
        bytes_per_volume: of a compressed volume.
    """

    seconds_per_batch: float
    bytes_per_volume: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The outlook of a run.

    Attributes:
        shards: of the whole release.
        pending: shards still to do.
        volumes: that the pending shards will add or rewrite.
        bytes: that those volumes take in the store.
        actors: that can work at once.
        seconds: until the last shard is committed, without the start of the workers.
    """

    shards: int
    pending: int
    volumes: int
    bytes: int
    actors: int
    seconds: float


def estimate(
    shards: Mapping[int, range],
    pending: Collection[int],
    *,
    batch_size: int,
    actors: int,
    measured: Measured,
) -> Estimate:
    """The outlook, each worker taking the next shard as it becomes free.

    Args:
        shards: the indices of every shard of the release.
        pending: numbers of the shards still to do.
        batch_size: volumes of a batch; a batch always runs full.
        actors: workers asked for.
        measured: the rate of one worker.
    """
    free_at = [0.0] * max(1, min(actors, len(pending)))
    for shard in sorted(pending):
        first = free_at.index(min(free_at))
        free_at[first] += len(batches(shards[shard], batch_size)) * measured.seconds_per_batch
    volumes = sum(len(shards[shard]) for shard in pending)
    return Estimate(
        shards=len(shards),
        pending=len(pending),
        volumes=volumes,
        bytes=round(volumes * measured.bytes_per_volume),
        actors=len(free_at) if pending else 0,
        seconds=max(free_at),
    )


def counted(count: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "shard"), counted(2, "shard")
    ('1 shard', '2 shards')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


def in_bytes(count: float) -> str:
    """A number of bytes for a person, in powers of ten.

    >>> [in_bytes(b) for b in (12, 4_200, 371_000_000_000)]
    ['12 B', '4.2 kB', '371.0 GB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
