"""What a worker is told before it starts, and what it reports of each shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ldm.covariates.calibration import Calibration
from manifests.ledger import ShardPlan
from ray_jobs.generation.options import LOADER
from ray_jobs.generation.recipe import Recipe
from ray_jobs.generation.worker.tally import Tally
from ray_jobs.reach import Note


class Why(StrEnum):
    """What samples of a finished release are drawn again for."""

    RECHECK = "recheck"
    REPAIR = "repair"
    REDRAW = "redraw"


@dataclass(frozen=True, kw_only=True)
class Again:
    """Which samples of a finished release are drawn again.

    Attributes:
        why: to hold them against the manifest, to make lost images again, or to draw on where
            they failed.
        attempts: the attempts that each may take, by index.
        digests: SHA-256 of the images that are to come out again, by index; None of
            a redraw.
        lease: identity of the lease under which they may be stored; empty where nothing is.
    """

    why: Why
    attempts: Mapping[int, range]
    digests: Mapping[int, str] | None = None
    lease: str = ""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All that a worker must know; pickled to each.

    Attributes:
        out, endpoint_url: of the release, as of `Options`.
        model: where the model is; every worker loads it once.
        model_fingerprint: of the model that the plan was made with.
        device: "cpu" or "cuda".
        precision: "bf16" or "fp32".
        compiled: whether the networks go through `torch.compile`.
        recipe: how the samples are drawn.
        shards: how they are cut.
        writers: threads that compress and upload.
        storage_patience_seconds: how long to wait for a storage that is away.
        loader: what loads the model, "module:function"; see `Options`.
        again: which samples are drawn again; None where shards are printed.
        tells_kind: whether rows tell what they were made on.
        calibration: by what is told, a row is extrapolated too; None in a release whose plan does
            not say so.
        note: what the driver left in a folder that machines must share; None where they need not.
    """

    out: str
    endpoint_url: str | None = None
    model: str
    model_fingerprint: str
    device: str
    precision: str
    compiled: bool = False
    recipe: Recipe
    shards: ShardPlan
    writers: int
    storage_patience_seconds: float = 0.0
    loader: str = LOADER
    again: Again | None = None
    tells_kind: bool = False
    calibration: Calibration | None = None
    note: Note | None = None


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What became of a shard: rows committed, of them failed, and what that took.

    Attributes:
        handed_back: whether it was left half made, as asked; `rows` of it are committed.
        unlike: samples that did not come out again as they were.
    """

    shard: int
    rows: int
    failed: int
    seconds: float
    tally: Tally
    handed_back: bool = False
    unlike: tuple[int, ...] = ()
