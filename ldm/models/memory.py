"""What a device's memory holds: how many volumes at once, and how much of one in decoding."""

from __future__ import annotations

import math
from typing import Any

from ldm.models.description import ModelDescription

# Past this a large network fills a GPU; a smaller one gains little, and its shards get long.
LARGEST_BATCH = 16
# Of the device's memory; the rest is for the libraries' workspaces and for fragments.
SHARE = 0.8
# Of the memory, for decoding a volume whole: convolutions at full resolution want workspaces.
WHOLE = 0.7
# Of the memory, for what is held of a slab.
SLAB = 0.125
SLAB_TENSORS = 8
# Tensors of the widest kind that a block holds beside what is kept for later.
AT_ONCE = 4
CELL = 2  # voxels a side of a refiner's cells


def batch_size(description: ModelDescription, memory_bytes: int) -> int:
    """The largest power of two whose sampling, and one volume's decoding, fit into the memory.

    A calculation from the networks' configurations, with nothing measured: float32 where a layer
    may compute in it, so that it is rather too large than too small.

    Args:
        description: of a latent diffusion model.
        memory_bytes: of the device.
    """
    free = SHARE * memory_bytes - _weights(description)
    if min(decoding_bytes(description), slabbed_bytes(description)) > free:
        return 1
    batch = LARGEST_BATCH
    while batch > 1 and batch * sampling_bytes(description) > free:
        batch //= 2
    return batch


def decoding_rows(description: ModelDescription, memory_bytes: int) -> int | None:
    """How many rows of x to decode at a time (`ldm.networks.slabs`); None: the volume whole, for
    which there is room.

    A calculation, as `batch_size` is.

    Args:
        description: of a latent diffusion model.
        memory_bytes: of the device, in all.
    """
    if decoding_bytes(description) <= WHOLE * memory_bytes - _weights(description):
        return None
    _, y, z = description.grid.shape
    config: Any = description.autoencoder
    row = 4 * _widest(config) * (y * z // config["patch"] ** 2)
    return max(1, int(SLAB * memory_bytes / (SLAB_TENSORS * row)))


def sampling_bytes(description: ModelDescription) -> int:
    """What one volume's pass through the U-Net holds: skip connections and the widest block."""
    config: Any = description.denoiser
    sides = [side // _factor(description.autoencoder) for side in description.grid.shape]
    voxels = math.prod(sides) // config["patch"] ** 3
    held, widest = 0, 0
    for level, channels in enumerate(config["channels"]):
        tensor = 4 * channels * math.ceil(voxels / 8**level)
        held += (config["num_res_blocks"] + 1) * tensor
        widest = max(widest, 2 * tensor)  # on the way up, beside what was kept
    return int(held + AT_ONCE * widest)


def decoding_bytes(description: ModelDescription) -> int:
    """What decoding one volume holds, at full resolution with the width of the level below, or its
    refiner at half of that, with what is kept for the way up."""
    config: Any = description.autoencoder
    voxels = math.prod(description.grid.shape)
    decoding = AT_ONCE * _layer_bytes(description)
    widths = config.get("refiner", {}).get("channels") or [0]
    return int(max(decoding, (AT_ONCE + 1) * 4 * widths[0] * (voxels // CELL**3)))


def slabbed_bytes(description: ModelDescription) -> int:
    """What decoding in slabs holds: a layer's input and output, whole."""
    return 2 * _layer_bytes(description)


def _layer_bytes(description: ModelDescription) -> int:
    config: Any = description.autoencoder
    voxels = math.prod(description.grid.shape) // config["patch"] ** 3
    return int(4 * _widest(config) * voxels)


def _widest(config: Any) -> int:
    """Channels at full resolution, which come from the level below."""
    return int(max(config["channels"][:2]))


def _weights(description: ModelDescription) -> int:
    return sum(int(entry["bytes"]) for entry in description.files.values())


def _factor(autoencoder: Any) -> int:
    return int(autoencoder["patch"] * 2 ** (len(autoencoder["channels"]) - 1))
