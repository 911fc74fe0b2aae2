"""What the driver tells the policy, and what the policy answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ray_jobs.generation.worker.doubts import Draws
from ray_jobs.generation.worker.environment import Place

# ---------------------------------------------------------------------------------------- events


@dataclass(frozen=True, kw_only=True)
class WorkerPlaced:
    """A started worker's process runs, on this device; it has not loaded its model."""

    worker: int
    place: Place


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """A worker has loaded its model and can take a shard."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class ShardCommitted:
    """A worker's shard is in the store, its part written."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    """A worker that was asked to has left a shard: what it made of it is committed."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """A worker raised an error over a shard and is still alive.

    `storage` where the storage was away, full or closed for as long as the worker waited: the
    shard is not to blame. `hopeless` where every other shard would end the same way, if the device
    is right (nothing that the model draws passes its check). `doubts` where draws did not come out
    as they must, which another device has to confirm before it is believed of the samples; `whole`
    where nothing else came out of a batch.
    """

    worker: int
    shard: int
    reason: str
    storage: bool = False
    hopeless: bool = False
    doubts: Draws = frozenset()
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """A worker's process is gone, or given up as hung, before or after it became ready.

    `fatal` where any other worker of its machine would end the same way (its copy of the model
    cannot be loaded). `with_its_machine` where the machine is gone: nobody is to blame.
    """

    worker: int
    reason: str
    fatal: bool = False
    with_its_machine: bool = False


@dataclass(frozen=True, kw_only=True)
class Rested:
    """A device that was left out for a while may be tried again."""

    place: Place


@dataclass(frozen=True, kw_only=True)
class Room:
    """The cluster now has room for so many workers, on so many devices."""

    workers: int
    devices: int


@dataclass(frozen=True, kw_only=True)
class Draining:
    """A machine is about to go (a spot notice): shards in hand there may be finished, no other is
    begun."""

    node: str


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """Somebody asked for an end: shards in hand are finished, no other is begun."""


Event = (
    WorkerPlaced
    | WorkerReady
    | ShardCommitted
    | HandedBack
    | ShardFailed
    | WorkerDied
    | Rested
    | Room
    | Draining
    | StopAsked
)

# ------------------------------------------------------------------------------------- decisions


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start a worker of this number, wherever the cluster has room."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """Have the worker load its model; one that is not asked to keeps its device from others."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Give the worker this shard; of the draws in `settled` two devices say that they fail."""

    worker: int
    shard: int
    settled: Draws = frozenset()


@dataclass(frozen=True, kw_only=True)
class HandBack:
    """Have the worker leave this shard after the batch that it draws, for another to finish."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class Retire:
    """End this worker; it has no shard in hand."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The shard will be tried again, elsewhere if there is anywhere else (for the log)."""

    shard: int
    attempt: int
    of: int
    reason: str
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The device has failed so often in a row that it is left out for some seconds; say when they
    are over."""

    place: Place
    failures: int
    seconds: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The shard failed too often; the release stays incomplete."""

    shard: int
    attempts: int
    reason: str


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"  # every shard committed
    INCOMPLETE = "incomplete"  # some shards given up
    STOPPED = "stopped"  # somebody asked
    STUCK = "stuck"  # nothing but failures


@dataclass(frozen=True, kw_only=True)
class End:
    """Nothing is left to do; always the last decision of a run."""

    outcome: Outcome
    reason: str = ""


Decision = Start | Load | Submit | HandBack | Retire | Retry | Rest | GiveUp | End
