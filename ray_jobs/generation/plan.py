"""The plan: every field on which a release's bytes depend, its fingerprint, and how it is cut."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ldm.covariates.calibration import Calibration
from ray_jobs.generation.options import Device, Kind, Options
from ray_jobs.generation.recipe import Recipe

# Volumes a forward pass and a shard, where the user does not say. A shard is the unit that is
# lost when a worker dies; a batch is what the device holds at once.
BATCH_SIZE = {Device.CPU: 4, Device.CUDA: 8}
SHARD_SIZE = {Device.CPU: 8, Device.CUDA: 64}
# From so many voxels on (a 1 mm head has 5.7 million) a CPU draws one at a time: a batch is no
# quicker there, and one of four would cost four volumes' time for `--n 1`.
LARGE_VOLUME = 2_000_000
# The field of a plan whose rows say `extrapolated` by what the model is told too.
EXTRAPOLATED, BY_WHAT_IS_TOLD = "extrapolated", "asked or told"


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
    recipe: Recipe,
    *,
    model_name: str,
    model_fingerprint: str,
    device: Device,
    precision: str,
    compiled: bool = False,
    shard_size: int,
    kind: Kind | None = None,
    calibrated: bool = False,
) -> dict[str, Any]:
    """Everything on which the bytes of a release depend, apart from how many samples it has.

    Args:
        kind: of the devices that it is begun on; None of a release that does not tell it. Another
            kind may go on with it, and its rows say so.
        calibrated: whether rows are extrapolated by what the model is told too; False of a model
            that is told what is asked, and of a release begun before that was so.
    """
    return {
        "model": model_name,
        "model_fingerprint": model_fingerprint,
        "schema": recipe.source.schema.fingerprint,
        **recipe.fields(),
        "device": str(device),
        "precision": precision,
        **({"compiled": True} if compiled else {}),
        **(asdict(kind) if kind else {}),
        **({EXTRAPOLATED: BY_WHAT_IS_TOLD} if calibrated else {}),
        "batch_size": recipe.batch_size,
        "shard_size": shard_size,
    }


def kind_in(fields: Mapping[str, Any]) -> Kind | None:
    """The kind that a plan was begun on; None of one that does not tell."""
    if "accelerator" not in fields:
        return None
    return Kind(accelerator=fields["accelerator"], torch=fields["torch"])


def calibration_in(fields: Mapping[str, Any], calibration: Calibration) -> Calibration | None:
    """A model's calibration, where a plan's rows are extrapolated by it; else None."""
    return calibration if EXTRAPOLATED in fields else None


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
