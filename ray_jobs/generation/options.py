"""What the user asks for, checked as far as the options alone can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from manifests.metadata.people import check_author
from ray_jobs.errors import JobError

LOADER = "ldm.loading:load"
LARGEST_SEED = 2**63 - 1  # the manifest keeps it as int64


class Device(StrEnum):
    """What the volumes are computed on. The same model rounds differently on each."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a worker computes on. Within one kind the same draw has the same bytes.

    Attributes:
        accelerator: the GPU's model; of a CPU its architecture and vector instructions.
        torch: the version of PyTorch.
    """

    accelerator: str
    torch: str

    def __str__(self) -> str:
        return f"{self.accelerator}, torch {self.torch}"


WRITERS = {Device.CPU: 2, Device.CUDA: 8}
# Shards in a worker's hands: with two, a GPU draws on while the last one's volumes are uploaded.
IN_HAND = {Device.CPU: 1, Device.CUDA: 2}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for.

    Attributes:
        n: volumes of the release.
        out: folder or s3:// URI of the release.
        endpoint_url: of the S3 server, where it is not that of AWS_ENDPOINT_URL.
        model: "demo", a model folder or an s3:// URI.
        seed: release seed; with the index it determines a sample.
        steps: denoising steps; None takes what is usual for the model (`settled`).
        sampler: how noise becomes a latent; None likewise.
        eta, guidance: see `ldm.diffusion.config.Sampling`; None likewise.
        covariates: "cohort", "uniform", or a .csv/.tsv file with a row for each sample.
        fix: `name=value` texts; covariates held constant.
        actors: worker processes; None takes one for each GPU, or each core.
        gpus_per_actor: share of a GPU that a worker reserves.
        device: None takes the GPUs where the cluster has any.
        accelerator_type: which of the cluster's GPUs to take, by Ray's name; None takes any.
        batch_size, shard_size: None takes the stored plan's, else the device's default.
        attempts: draws of a sample before it is recorded as failed.
        quality: how much of the model's bounds a volume has to keep: "model", "loose" or "off".
        precision: number format of the networks; "auto" takes what is native.
        compile: "on", "off", or "auto": on a GPU, for releases that are worth it.
        writers: threads of a worker that compress and upload; None takes the device's default.
        worker_patience: seconds of silence after which a worker is replaced, see `Vigil`.
        grace: seconds from SIGTERM until a run must have ended.
        storage_patience: seconds that a run waits for an S3 server that is away.
        name, license, authors: what the release says of itself; empty takes the model's.
        loader: what a worker loads the model with, "module:function", called as `ldm.loading.load`
            is; for models of one's own kind, importable on every worker.
    """

    n: int
    out: str
    endpoint_url: str | None = None
    model: str = "demo"
    seed: int = 0
    steps: int | None = None
    sampler: str | None = None
    eta: float | None = None
    guidance: float | None = None
    covariates: str = "cohort"
    fix: tuple[str, ...] = ()
    actors: int | None = None
    gpus_per_actor: float = 1.0
    device: Device | None = None
    accelerator_type: str | None = None
    batch_size: int | None = None
    shard_size: int | None = None
    attempts: int = 3
    quality: str = "model"
    precision: str = "auto"
    compile: str = "auto"
    writers: int | None = None
    worker_patience: float = 120.0
    storage_patience: float = 300.0
    grace: float = 2.0
    name: str | None = None
    license: str | None = None
    authors: tuple[str, ...] = ()
    loader: str = LOADER

    def __post_init__(self) -> None:
        for name in ("n", "steps", "actors", "batch_size", "shard_size", "attempts", "writers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                option = name.replace("_", "-")
                raise JobError(f"--{option} {value}: expected at least 1")
        for name, least in (("worker_patience", 5.0), ("storage_patience", 0.0), ("grace", 0.0)):
            if not getattr(self, name) >= least:
                option = name.replace("_", "-")
                raise JobError(f"--{option} {getattr(self, name)}: expected {least:g} s or more")
        if self.accelerator_type is not None and self.device is Device.CPU:
            raise JobError(f"--accelerator-type {self.accelerator_type} with --device cpu")
        for author in self.authors:
            check_author(author)
        if not 0 <= self.seed <= LARGEST_SEED:
            raise JobError(f"--seed {self.seed}: expected 0 to 2^63 - 1")
        share = self.gpus_per_actor
        if not (0 < share <= 1 or (math.isfinite(share) and share == int(share) > 0)):
            raise JobError(
                f"--gpus-per-actor {share:g}: expected a share such as 0.5, or a whole number"
            )
        batch, shard = self.batch_size, self.shard_size
        if batch and shard and shard % batch:
            raise JobError(
                f"--shard-size {shard} with --batch-size {batch}: a shard must hold whole "
                f"batches; expected a multiple, such as {batch * max(1, round(shard / batch))}"
            )
