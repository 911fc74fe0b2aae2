"""The words between the driver and its policy: what happened, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# ---------------------------------------------------------------------------------------- events


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """A started worker has loaded its model and can take a shard."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class ShardCommitted:
    """A worker's shard is in the store, its part written."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """A worker raised an error over a shard and is still alive.

    `storage` where the storage was away, full or closed for as long as the worker waited: the
    shard is not to blame.
    """

    worker: int
    shard: int
    reason: str
    storage: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """A worker's process is gone, or given up as hung, before or after it became ready.

    `fatal` where any other worker would end the same way (its model cannot be loaded).
    """

    worker: int
    reason: str
    fatal: bool = False


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """Somebody asked for an end: shards in hand are finished, no other is begun."""


Event = WorkerReady | ShardCommitted | ShardFailed | WorkerDied | StopAsked

# ------------------------------------------------------------------------------------- decisions


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start a worker of this number."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Give the worker this shard."""

    worker: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class Retire:
    """End this worker; it has no shard in hand."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The shard will be tried again, on another worker or on a replacement (for the log)."""

    shard: int
    attempt: int
    of: int
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


Decision = Start | Submit | Retire | Retry | GiveUp | End
