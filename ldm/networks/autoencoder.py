"""The KL autoencoder: volumes to latents and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks.layout import WIDTHS, check_groups, depth_to_space, space_to_depth, tuples
from ldm.networks.refiner import CELL, Refiner
from ldm.untrusted import MOST_BLOCKS, MOST_CHANNELS, MOST_PATCH, MOST_STEPS, check_whole

REFINER = "refiner"  # what its weights' names begin with, in an autoencoder's


@dataclass(frozen=True, kw_only=True)
class RefinerConfig:
    """What stands after the decoder of a model whose sampling ends early (`ldm.networks.refiner`).

    Attributes:
        channels: width of each of its levels, the first at half the volume's sides; empty: none.
        num_res_blocks: residual blocks a level on the way up.
        norm_num_groups: groups of the group normalisation.
        steps: calls of it a volume.
    """

    channels: tuple[int, ...] = ()
    num_res_blocks: int = 2
    norm_num_groups: int = 8
    steps: int = 6

    def __post_init__(self) -> None:
        check_whole("refiner", 1, MOST_BLOCKS, num_res_blocks=self.num_res_blocks)
        check_whole("refiner", 1, MOST_STEPS, steps=self.steps)
        widths = {"channels": self.channels, "norm_num_groups": self.norm_num_groups}
        check_whole("refiner", 1, MOST_CHANNELS, **widths)
        if len(self.channels) == 1:
            raise LdmError(
                f"refiner channels {self.channels}: expected two levels or more, or none for no "
                "refiner"
            )
        check_groups("refiner channels", self.channels, self.norm_num_groups)

    @property
    def factor(self) -> int:
        """What every side of the volume must divide by."""
        return CELL * 2 ** (len(self.channels) - 1) if self.channels else 1

    def build(self, latent_channels: int) -> Refiner:
        """An untrained one for latents of so many channels."""
        return Refiner(
            latent_channels=latent_channels,
            channels=self.channels,
            num_res_blocks=self.num_res_blocks,
            norm_num_groups=self.norm_num_groups,
        )

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RefinerConfig:
        return cls(**tuples(document))


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The KL autoencoder.

    Attributes:
        channels: width of each level; every level but the first halves the sides.
        latent_channels: channels of the latent.
        num_res_blocks: residual blocks a level.
        norm_num_groups: groups of the group normalisation.
        patch: side of the space-to-depth step before the network; 1 is the paper's network.
        mirrored: whether the network knows volumes whose x axis runs from right to left; they are
            turned on the way in and out, so that outside of it every volume is RAS.
        refiner: what stands after the decoder, of a model whose sampling ends early.
    """

    channels: tuple[int, ...]
    latent_channels: int
    num_res_blocks: int
    norm_num_groups: int
    patch: int = 1
    mirrored: bool = False
    refiner: RefinerConfig = RefinerConfig()

    def __post_init__(self) -> None:
        check_whole("autoencoder", 1, MOST_PATCH, patch=self.patch)
        check_whole("autoencoder", 1, MOST_BLOCKS, num_res_blocks=self.num_res_blocks)
        widths = {name: getattr(self, name) for name in WIDTHS}
        check_whole("autoencoder", 1, MOST_CHANNELS, **widths)
        if not self.channels:
            raise LdmError("autoencoder channels (): expected one level or more")
        check_groups("autoencoder channels", self.channels, self.norm_num_groups)

    @property
    def factor(self) -> int:
        """How many voxels along a side one latent voxel stands for."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def to_json(self) -> dict[str, Any]:
        """The fields; `mirrored` and `refiner` only where there is such a thing, which models made
        before them have not."""
        told = asdict(self)
        if not self.mirrored:
            del told["mirrored"]
        if not self.refiner.channels:
            del told["refiner"]
        return told

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> AutoencoderConfig:
        return cls(
            **{**tuples(document), "refiner": RefinerConfig.from_json(document.get("refiner", {}))}
        )


class Autoencoder(nn.Module):
    """Volumes (B, 1, X, Y, Z) in [0, 1] to latents (B, C, X/f, Y/f, Z/f) and back.

    Pinaya et al. 2022 section 2.1; with `patch` > 1 a space-to-depth step stands before the
    network and its inverse after it, which makes full-resolution layers affordable on a CPU.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        from monai.networks.nets import AutoencoderKL

        self.config = config
        self.net = AutoencoderKL(
            spatial_dims=3,
            in_channels=config.patch**3,
            out_channels=config.patch**3,
            latent_channels=config.latent_channels,
            channels=config.channels,
            num_res_blocks=config.num_res_blocks,
            norm_num_groups=config.norm_num_groups,
            norm_eps=1e-6,
            attention_levels=[False] * len(config.channels),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        if config.refiner.channels:
            self.refiner = config.refiner.build(config.latent_channels)

    @property
    def last_convolution(self) -> nn.Module:
        """The decoder's last layer, which always computes in float32."""
        blocks: Any = self.net.decoder.blocks
        last: nn.Module = blocks[-1]
        return last

    def encode(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latent, each (B, C, X/f, Y/f, Z/f)."""
        mean, std = self.net.encode(space_to_depth(self._turned(volume), self.config.patch))
        return mean, std

    def decode(self, latent: Tensor, rows: int | None = None) -> Tensor:
        """Volume (B, 1, X, Y, Z), before any refiner; not clipped.

        The last convolution runs in float32: intensities in bf16 would come in 1/256 steps.

        Args:
            rows: compute so many rows of each layer at a time, for a device of little memory: see
                `ldm.networks.slabs`. Without gradients.
        """
        hidden = self.net.post_quant_conv(latent)
        blocks: Any = self.net.decoder.blocks
        if rows is not None:
            from ldm.networks.slabs import decoded

            cells = decoded(blocks, hidden, rows)
        else:
            for block in blocks[:-1]:
                hidden = block(hidden)
            with torch.autocast(hidden.device.type, enabled=False):
                cells = self.last_convolution(hidden.float())
        return self._turned(depth_to_space(cells, self.config.patch))

    def refine(
        self,
        volume: Tensor,
        latent: Tensor,
        noise: Tensor,
        predict: Callable[..., Tensor] | None = None,
    ) -> Tensor:
        """The volume that was decoded of `latent` with the refiner's fine structure.

        Args:
            volume: (B, 1, X, Y, Z).
            latent: (B, C, X/f, Y/f, Z/f).
            noise: N(0, 1), of `ldm.networks.refiner.noise_shape`.
            predict: what stands for the refiner.
        """
        steps = self.config.refiner.steps
        return self.refiner.refine(volume, self._turned(latent), noise, steps, predict)

    def _turned(self, volume: Tensor) -> Tensor:
        """Between RAS and the network's own frame."""
        return volume.flip(2) if self.config.mirrored else volume

    def forward(self, volume: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and standard deviation; `noise` is N(0, 1) of latent shape."""
        mean, std = self.encode(volume)
        return self.decode(mean + std * noise), mean, std


def with_refiner(
    autoencoder: Autoencoder, config: RefinerConfig, weights: dict[str, Tensor]
) -> Autoencoder:
    """The autoencoder with a trained refiner, in place of its own if it has one."""
    whole = Autoencoder(replace(autoencoder.config, refiner=config))
    whole.load_state_dict(
        {
            **_own(autoencoder),
            **{f"{REFINER}.{name}": weight for name, weight in weights.items()},
        }
    )
    return whole


def without_refiner(autoencoder: Autoencoder) -> Autoencoder:
    """The autoencoder alone: itself if it has no refiner, else a copy in evaluation mode."""
    if not autoencoder.config.refiner.channels:
        return autoencoder
    alone = Autoencoder(replace(autoencoder.config, refiner=RefinerConfig()))
    alone.load_state_dict(_own(autoencoder))
    return alone.eval().requires_grad_(False)


def _own(autoencoder: Autoencoder) -> dict[str, Tensor]:
    weights = autoencoder.state_dict()
    return {k: v for k, v in weights.items() if not k.startswith(f"{REFINER}.")}
