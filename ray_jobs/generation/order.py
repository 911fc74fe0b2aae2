"""A run's order: its options checked against the model, the store and the plan that is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm.diffusion.config import Sampling
from ldm.diffusion.schedule import step_pairs
from ldm.loading import describe
from ldm.models.bundle.source import is_bundle
from ldm.models.bundle.source import located as located_bundle
from ldm.models.description import GAN, ONE_PASS, ModelDescription
from ldm.models.folder import verified
from ldm.models.memory import batch_size as largest_batch
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from manifests.storage.base import Store
from ray_jobs.errors import JobError
from ray_jobs.generation.cluster import refuse_fleeting
from ray_jobs.generation.covariates import CovariateSource, covariate_source
from ray_jobs.generation.environment import Native
from ray_jobs.generation.plan import (
    Device,
    Options,
    fingerprint,
    plan_fields,
    sampling_in,
    settled,
    sizes,
)

# A model's files are checked before any worker starts where that takes no time.
CHECKED_BYTES = 200 * 1000**2
# From so many volumes on, the minutes that compiling takes come back.
COMPILED_FROM = 256


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run's options, and all that was looked up for them before anything starts.

    `stored` are the fields of the plan that is in the store already, None in a new place.
    """

    options: Options
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
    """What there is to do: the plan's fields, its shards, and those of them that are pending."""

    fields: Mapping[str, Any]
    fingerprint: str
    shards: ShardPlan
    pending: list[int]

    @property
    def device(self) -> Device:
        return Device(self.fields["device"])

    @property
    def already(self) -> int:
        """Samples of the shards that are done."""
        return self.shards.n - sum(self.shards.expected_rows(shard) for shard in self.pending)


def take(options: Options) -> Order:
    """Check everything that can be checked without Ray.

    Raises:
        JobError, LdmError, ReleaseError: what is wrong with the options, the model or the store.
    """
    refuse_fleeting(options.out)
    description = describe(options.model)
    _check_files(options.model, description)
    one_pass = description.kind == GAN
    given, options = options, settled(options, description.sampling, one_pass=one_pass)
    if not one_pass:
        step_pairs(int(description.schedule["steps"]), options.steps or 0)  # refuses too many
        _check_guidance(options, description)
    source = covariate_source(
        options.covariates,
        options.fix,
        n=options.n,
        schema=description.schema,
        distribution=description.distribution,
    )
    store = open_store(options.out)
    store.check_writable()
    stored = Ledger(store).plan()
    if stored is not None and not one_pass and stored["fields"]["sampler"] != ONE_PASS:
        options = settled(given, Sampling(**sampling_in(stored["fields"])), one_pass=False)
    return Order(
        options=options,
        store=store,
        description=description,
        source=source,
        stored=None if stored is None else stored["fields"],
    )


def fields_of(order: Order, *, device: Device, native: Native | None = None) -> dict[str, Any]:
    """The plan's fields; what the user left open is as in the plan that is there.

    Args:
        device, native: in a new place, what the cluster offers.
    """
    options, stored, native = order.options, order.stored, native or Native()
    precision = native.precision
    compiled = options.n >= COMPILED_FROM and device is Device.CUDA and not native.not_compiled
    if stored is not None:
        device = options.device or Device(stored["device"])
        precision, compiled = stored["precision"], stored.get("compiled", False)
    if options.precision != "auto":
        precision = options.precision
    if options.compile != "auto":
        compiled = options.compile == "on"
    description = order.description
    voxels = math.prod(description.grid.shape)
    one_pass = description.kind == GAN
    most = None
    if native.memory_bytes is not None and not one_pass:
        most = largest_batch(description, native.memory_bytes)
    batch_size, shard_size = sizes(options, device, stored, voxels=voxels, most=most)
    return plan_fields(
        options,
        model_name=order.description.name,
        model_fingerprint=order.description.fingerprint,
        schema_fingerprint=order.description.schema.fingerprint,
        covariates=order.source.identity,
        fixed=order.source.fixed,
        device=device,
        precision=precision,
        compiled=compiled and not one_pass,
        batch_size=batch_size,
        shard_size=shard_size,
    )


def begin(order: Order, fields: Mapping[str, Any], *, write: bool = True) -> Work:
    """Open the ledger with these fields and see what is pending.

    Args:
        write: whether to write the plan and the aim; a dry run only compares.

    Raises:
        ReleaseError: another release is there; the message names what differs.
        JobError: the release was begun with a larger n, and is not finished.
    """
    ledger, n = Ledger(order.store), order.options.n
    identity = fingerprint(fields)
    document = {
        "fingerprint": identity,
        "shard_size": fields["shard_size"],
        "fields": dict(fields),
    }
    shards = ShardPlan(n, int(fields["shard_size"]))
    if order.stored is None and not write:
        return Work(
            fields=fields, fingerprint=identity, shards=shards, pending=list(range(shards.count))
        )
    ledger.begin(document)
    target = ledger.target() or 0
    if target > n and ledger.pending(ShardPlan(target, shards.shard_size)):
        raise JobError(
            f"--n {n}: {order.store.uri} was begun with --n {target} and is not finished; a "
            f"release never shrinks: give --n {target} or more, or another place"
        )
    if write and target <= n:  # of a larger one that is finished nothing is made
        ledger.begin(document, n=n)
    return Work(fields=fields, fingerprint=identity, shards=shards, pending=ledger.pending(shards))


def located(model: str) -> str:
    """A model's source as every worker understands it."""
    if is_bundle(model):
        return located_bundle(model)
    return model if model == "demo" or "://" in model else str(Path(model).expanduser().absolute())


def _check_guidance(options: Options, description: ModelDescription) -> None:
    """Refuse guidance of a model that cannot leave its conditions out."""
    if options.guidance != 1 and description.denoiser.get("null_condition") is None:
        raise JobError(
            f"--guidance {options.guidance:g}: {options.model} was trained with its conditions "
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
