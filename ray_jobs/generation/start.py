"""The start of a run: options checked against the model, the store and the plan that is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ldm.diffusion.config import Sampling
from ldm.diffusion.schedule import Schedule, step_pairs
from ldm.loading import describe
from ldm.models.bundle.source import is_bundle
from ldm.models.bundle.source import located as located_bundle
from ldm.models.description import GAN, ONE_PASS, ModelDescription
from ldm.models.folder import verified
from ldm.models.memory import batch_size as largest_batch
from ldm.volumes.quality import Strictness
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_to_write
from manifests.storage.base import Store
from ray_jobs.errors import JobError
from ray_jobs.generation.covariates import CovariateSource, covariate_source
from ray_jobs.generation.options import WRITERS, Device, Options
from ray_jobs.generation.plan import (
    EXTRAPOLATED,
    calibration_in,
    fingerprint,
    kind_in,
    plan_fields,
    sizes,
)
from ray_jobs.generation.recipe import Recipe, sampling_in, settled
from ray_jobs.generation.worker.assignment import Again, Assignment
from ray_jobs.generation.worker.environment import Native

# A model's files are checked before any worker starts where that takes no time.
CHECKED_BYTES = 200 * 1000**2
# From so many volumes on, the minutes that compiling takes come back.
COMPILED_FROM = 256


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run's options, and all that was looked up for them before anything starts.

    Attributes:
        options: as the user gave them.
        sampling: how to sample, what was left out settled; None of a GAN.
        store: where the release goes.
        description: the model's.
        source: the covariates of each sample.
        stored: the fields of the plan that is in the store already; None in a new place.
    """

    options: Options
    sampling: Sampling | None
    store: Store
    description: ModelDescription
    source: CovariateSource
    stored: Mapping[str, Any] | None

    @property
    def model(self) -> str:
        """Where workers find the model: a folder by its full path."""
        return located(self.options.model)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What there is to do: the plan, the recipe in it, its shards, and those that are pending."""

    recipe: Recipe
    fields: Mapping[str, Any]
    fingerprint: str
    shards: ShardPlan
    pending: list[int]

    @property
    def document(self) -> dict[str, Any]:
        """As the ledger keeps the plan."""
        return {
            "fingerprint": self.fingerprint,
            "shard_size": self.fields["shard_size"],
            "fields": dict(self.fields),
        }

    @property
    def device(self) -> Device:
        return Device(self.fields["device"])

    @property
    def already(self) -> int:
        """Samples of the shards that are done."""
        return self.shards.n - sum(self.shards.expected_rows(shard) for shard in self.pending)


def check(options: Options) -> Request:
    """Check everything that can be checked without Ray.

    Raises:
        JobError, LdmError, ReleaseError: what is wrong with the options, the model or the store.
    """
    description = describe(options.model)
    _check_files(options.model, description)
    one_pass = description.kind == GAN
    sampling = settled(options, description.sampling, one_pass=one_pass)
    if sampling is not None:
        schedule = Schedule.from_json(description.schedule)
        step_pairs(schedule.steps, sampling.count, schedule.truncation)  # refuses too many
        _check_guidance(options.model, sampling.guidance, description)
    source = covariate_source(
        options.covariates,
        options.fix,
        n=options.n,
        schema=description.schema,
        distribution=description.distribution,
    )
    store = open_to_write(options.out, endpoint_url=options.endpoint_url)
    store.check_writable()
    stored = Ledger(store).plan()
    if stored is not None and not one_pass and stored["fields"]["sampler"] != ONE_PASS:
        sampling = settled(options, Sampling(**sampling_in(stored["fields"])), one_pass=False)
    return Request(
        options=options,
        sampling=sampling,
        store=store,
        description=description,
        source=source,
        stored=None if stored is None else stored["fields"],
    )


def fields_of(request: Request, *, device: Device, native: Native | None = None) -> dict[str, Any]:
    """The plan's fields; what the user left open is as in the plan that is there.

    Args:
        device, native: in a new place, what the cluster offers.
    """
    options, stored, native = request.options, request.stored, native or Native()
    precision, kind = native.precision, native.kind
    compiled = options.n >= COMPILED_FROM and device is Device.CUDA and not native.not_compiled
    if stored is not None:
        device = options.device or Device(stored["device"])
        precision, compiled = stored["precision"], stored.get("compiled", False)
        kind = kind_in(stored)
    if options.precision != "auto":
        precision = options.precision
    if options.compile != "auto":
        compiled = options.compile == "on"
    description = request.description
    voxels = math.prod(description.grid.shape)
    one_pass = description.kind == GAN
    most = None
    if native.memory_bytes is not None and not one_pass:
        most = largest_batch(description, native.memory_bytes)
    batch_size, shard_size = sizes(options, device, stored, voxels=voxels, most=most)
    recipe = Recipe(
        seed=options.seed,
        sampling=request.sampling,
        attempts=options.attempts,
        batch_size=batch_size,
        source=request.source,
        quality=Strictness(options.quality),
    )
    return plan_fields(
        recipe,
        model_name=description.name,
        model_fingerprint=description.fingerprint,
        device=device,
        precision=precision,
        compiled=compiled and not one_pass,
        shard_size=shard_size,
        kind=kind,
        calibrated=bool(description.calibration.planes)
        if stored is None
        else EXTRAPOLATED in stored,
    )


def begin(request: Request, fields: Mapping[str, Any], *, write: bool = True) -> Work:
    """Open the ledger with these fields and see what is pending.

    Args:
        write: whether to write the plan and the aim; a dry run only compares.

    Raises:
        ReleaseError: another release is there; the message names what differs.
        JobError: the release was begun with a larger n, and is not finished.
    """
    ledger, n = Ledger(request.store), request.options.n
    work = planned(request, fields)
    if request.stored is None and not write:
        return work
    ledger.begin(work.document)
    target = ledger.target() or 0
    if target > n and ledger.pending(ShardPlan(target, work.shards.shard_size)):
        raise JobError(
            f"--n {n}: {request.store.uri} was begun with --n {target} and is not finished; a "
            f"release never shrinks: give --n {target} or more, or another place"
        )
    if write and target <= n:  # of a larger one that is finished nothing is made
        ledger.begin(work.document, n=n)
    return replace(work, pending=ledger.pending(work.shards))


def planned(request: Request, fields: Mapping[str, Any]) -> Work:
    """All there is to do of a plan, whatever was done of it."""
    shards = ShardPlan(request.options.n, int(fields["shard_size"]))
    return Work(
        recipe=Recipe.pinned(fields, request.source),
        fields=fields,
        fingerprint=fingerprint(fields),
        shards=shards,
        pending=list(range(shards.count)),
    )


def assignment(request: Request, work: Work, again: Again | None = None) -> Assignment:
    """What every worker is told."""
    options, fields = request.options, work.fields
    return Assignment(
        out=request.store.uri,
        endpoint_url=options.endpoint_url,
        model=request.model,
        model_fingerprint=fields["model_fingerprint"],
        device=fields["device"],
        precision=fields["precision"],
        compiled=fields.get("compiled", False),
        recipe=work.recipe,
        shards=work.shards,
        calibration=calibration_in(fields, request.description.calibration),
        writers=options.writers or WRITERS[work.device],
        storage_patience_seconds=options.storage_patience,
        loader=options.loader,
        again=again,
        tells_kind=kind_in(fields) is not None,
    )


def located(model: str) -> str:
    """A model's source as every worker understands it."""
    if is_bundle(model):
        return located_bundle(model)
    return model if model == "demo" or "://" in model else str(Path(model).expanduser().absolute())


def _check_guidance(model: str, guidance: float, description: ModelDescription) -> None:
    """Refuse guidance of a model that cannot leave its conditions out."""
    if guidance != 1 and description.denoiser.get("null_condition") is None:
        raise JobError(
            f"--guidance {guidance:g}: {model} was trained with its conditions "
            "always given; leave --guidance out, or train with --condition-dropout"
        )


def _check_files(model: str, description: ModelDescription) -> None:
    """Check a local model's files against their digests, before workers are started for it.

    A bundle's digests are those of its files, as `describe` just read them.
    """
    if is_bundle(model):
        return
    total = sum(int(entry["bytes"]) for entry in description.files.values())
    if "://" not in model and total <= CHECKED_BYTES:
        for name in description.files:
            verified(model, name, description.files)
