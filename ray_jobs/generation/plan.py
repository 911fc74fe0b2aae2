"""What will be printed: a user's options, checked, and the plan document that pins a release."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ldm.diffusion.config import Sampler, Sampling
from ldm.models.description import ONE_PASS
from ray_jobs.errors import JobError

DOCUMENT_VERSION = 1
LOADER = "ldm.loading:load"
LARGEST_SEED = 2**63 - 1  # the manifest keeps it as int64


class Device(StrEnum):
    """What the volumes are computed on. The same model rounds differently on each."""

    CPU = "cpu"
    CUDA = "cuda"


SAMPLING = ("sampler", "steps", "eta", "guidance")

# Volumes a forward pass and a shard, where the user does not say. A shard is the unit that is
# lost when a worker dies; a batch is what the device holds at once.
BATCH_SIZE = {Device.CPU: 4, Device.CUDA: 8}
# From so many voxels on (a 1 mm head has 5.7 million) a CPU draws one at a time: a batch is no
# quicker there, and one of four would cost four volumes' time for `--n 1`.
LARGE_VOLUME = 2_000_000
SHARD_SIZE = {Device.CPU: 8, Device.CUDA: 64}
WRITERS = {Device.CPU: 2, Device.CUDA: 8}
# Shards in a worker's hands: with two, a GPU draws on while the last one's volumes are uploaded.
IN_HAND = {Device.CPU: 1, Device.CUDA: 2}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for.

    Attributes:
        n: volumes of the release.
        out: folder or s3:// URI of the release.
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
        batch_size, shard_size: None takes the stored plan's, else the device's default.
        attempts: draws of a sample before it is recorded as failed.
        precision: number format of the networks; "auto" takes what is native.
        compile: "on", "off", or "auto": on a GPU, for releases that are worth it.
        writers: threads of a worker that compress and upload; None takes the device's default.
        worker_patience: seconds of silence after which a worker is replaced, see `Vigil`.
        storage_patience: seconds that a run waits for an S3 server that is away.
        name, license, authors: what the release says of itself; empty takes the model's.
        loader: what a worker loads the model with, "module:function", called as `ldm.loading.load`
            is; for models of one's own kind, importable on every worker.
    """

    n: int
    out: str
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
    batch_size: int | None = None
    shard_size: int | None = None
    attempts: int = 3
    precision: str = "auto"
    compile: str = "auto"
    writers: int | None = None
    worker_patience: float = 120.0
    storage_patience: float = 300.0
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
        for name, least in (("worker_patience", 5.0), ("storage_patience", 0.0)):
            if not getattr(self, name) >= least:
                option = name.replace("_", "-")
                raise JobError(f"--{option} {getattr(self, name)}: expected {least:g} s or more")
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


def sampling_of(options: Options, usual: Sampling) -> Sampling:
    """How to sample; what the user left out is as usual.

    Raises:
        LdmError: an unknown sampler, or options that do not go together.
    """
    return usual.altered(**{name: getattr(options, name) for name in SAMPLING})


def sampling_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """How a plan's fields say that volumes are drawn, as keywords of a model's `generate`."""
    return {
        "sampler": fields["sampler"],
        "steps": fields["steps"],
        "eta": 0.0 if fields["sampler"] == Sampler.DDPM else fields["eta"],
        "guidance": fields.get("guidance", 1.0),
    }


def settled(options: Options, usual: Sampling, *, one_pass: bool) -> Options:
    """The options with a sampler, steps, eta and guidance, where they were left to the model.

    Args:
        usual: what those that were left out are taken from.
        one_pass: whether the model is a GAN, which makes a volume in one pass.

    Raises:
        JobError: they were given for a GAN, or a release without conditions is asked for.
        LdmError: they do not go together.
    """
    if not one_pass:
        sampling = sampling_of(options, usual)
        if not sampling.guidance:
            raise JobError(
                "--guidance 0: it leaves the covariates out, and a release tells of each volume "
                "those it was asked for; give more than 0, or sample without them in Python: "
                "model.sample(unconditional=True)"
            )
        return replace(options, **{**sampling.options(), "steps": sampling.count})
    for name in SAMPLING:
        if (value := getattr(options, name)) is not None:
            raise JobError(
                f"--{name} {value}: {options.model} is a GAN, which makes a volume in one pass; "
                f"leave --{name} out"
            )
    return replace(options, sampler=ONE_PASS, steps=1, eta=0.0, guidance=1.0)


def sizes(
    options: Options,
    device: Device,
    stored: Mapping[str, Any] | None,
    *,
    voxels: int = 0,
    most: int | None = None,
) -> tuple[int, int]:
    """The batch size and the shard size, the latter a multiple of the former.

    What the user leaves out is taken from the stored plan's fields; in a new release it is the
    device's default, fitted to the other size where that one was given. (Whether they agree with
    a stored plan is the fingerprint's to say.)

    Args:
        voxels: of the model's volumes.
        most: volumes that the device's memory holds at once, where that is known.
    """
    batch, shard = options.batch_size, options.shard_size
    if stored is not None:
        return batch or int(stored["batch_size"]), shard or int(stored["shard_size"])
    if batch is None:
        one = device is Device.CPU and voxels >= LARGE_VOLUME
        most = 1 if one else most or BATCH_SIZE[device]
        limit = most if shard is None else min(shard, most)
        held = SHARD_SIZE[device] if shard is None else shard
        batch = max(size for size in range(1, limit + 1) if held % size == 0)
    if shard is None:
        shard = batch * max(1, SHARD_SIZE[device] // batch)
    return batch, shard


def plan_fields(
    options: Options,
    *,
    model_name: str,
    model_fingerprint: str,
    schema_fingerprint: str,
    covariates: str,
    fixed: Mapping[str, float | str],
    device: Device,
    precision: str,
    compiled: bool = False,
    batch_size: int,
    shard_size: int,
) -> dict[str, Any]:
    """Everything on which the bytes of a release depend, apart from how many samples it has.

    Args:
        covariates: the source: "cohort", "uniform" or "table:" and the digest of its rows.
        fixed: covariates held constant, parsed.
    """
    # Named where it matters alone, so that releases begun before there was any still go on.
    guidance = {} if options.guidance in (None, 1.0) else {"guidance": options.guidance}
    return {
        "model": model_name,
        "model_fingerprint": model_fingerprint,
        "schema": schema_fingerprint,
        "sampler": str(options.sampler),
        "steps": options.steps,
        "eta": 1.0 if options.sampler == Sampler.DDPM else options.eta or 0.0,
        **guidance,
        "seed": options.seed,
        "covariates": covariates,
        "fixed": dict(fixed),
        "attempts": options.attempts,
        "device": str(device),
        "precision": precision,
        **({"compiled": True} if compiled else {}),
        "batch_size": batch_size,
        "shard_size": shard_size,
    }


def fingerprint(fields: Mapping[str, Any]) -> str:
    """sha256, hexadecimal, of the fields' canonical JSON."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def batches(indices: range, batch_size: int) -> list[range]:
    """The full batches that cover `indices`, cut at multiples of the batch size.

    >>> batches(range(8, 13), 4)
    [range(8, 12), range(12, 16)]
    """
    first = indices.start // batch_size
    end = math.ceil(indices.stop / batch_size)
    return [range(b * batch_size, (b + 1) * batch_size) for b in range(first, end)]
