"""The diffusion U-Net with the paper's hybrid conditioning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks.layout import WIDTHS, check_groups, depth_to_space, space_to_depth, tuples
from ldm.networks.refiner import Branch
from ldm.untrusted import MOST_BLOCKS, MOST_CHANNELS, MOST_PATCH, check_whole


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """The diffusion U-Net with the paper's hybrid conditioning.

    Attributes:
        latent_channels: channels of the latent it denoises.
        conditions: number of scaled covariates, a one-hot one counted once a level.
        channels: width of each level; every level but the first halves the sides.
        num_res_blocks: residual blocks a level.
        attention_levels: which levels have self- and cross-attention.
        head_channels: channels of an attention head at each level; 0 where there is none.
        norm_num_groups: groups of the group normalisation.
        patch: side of the space-to-depth step on the latent; 1 is the paper's network.
        branch_channels: width of the branch on the latent's own voxels that adds to what the U-Net
            says (`ldm.networks.refiner.Branch`); 0: none, as in the paper.
        branch_blocks: its residual blocks.
        condition_mean, condition_std: standardise the conditions before use; empty leaves
            them as they are, as in the paper.
        null_condition: what every standardised condition reads where the conditions are dropped,
            for sampling without them and for guidance; None: the model was not trained for that.
    """

    latent_channels: int
    conditions: int
    channels: tuple[int, ...]
    num_res_blocks: int
    attention_levels: tuple[bool, ...]
    head_channels: tuple[int, ...]
    norm_num_groups: int
    patch: int = 1
    branch_channels: int = 0
    branch_blocks: int = 4
    condition_mean: tuple[float, ...] = ()
    condition_std: tuple[float, ...] = ()
    null_condition: float | None = None

    def __post_init__(self) -> None:
        check_whole("U-Net", 1, MOST_PATCH, patch=self.patch)
        check_whole("U-Net", 1, MOST_BLOCKS, num_res_blocks=self.num_res_blocks)
        check_whole("U-Net", 1, MOST_CHANNELS, **{name: getattr(self, name) for name in WIDTHS})
        check_whole("U-Net", 1, MOST_BLOCKS, branch_blocks=self.branch_blocks)
        optional = ("conditions", "head_channels", "branch_channels")
        check_whole("U-Net", 0, MOST_CHANNELS, **{name: getattr(self, name) for name in optional})
        if not len(self.channels) == len(self.attention_levels) == len(self.head_channels):
            raise LdmError(
                f"U-Net with {len(self.channels)} channels, {len(self.attention_levels)} "
                f"attention levels and {len(self.head_channels)} head sizes: expected one a level"
            )
        check_groups("U-Net channels", self.channels, self.norm_num_groups)
        check_groups("U-Net branch_channels", self.branch_channels, self.norm_num_groups)
        levels = zip(self.channels, self.attention_levels, self.head_channels, strict=True)
        if any(attends and (head < 1 or width % head) for width, attends, head in levels):
            raise LdmError(
                f"U-Net head sizes {self.head_channels}: where there is attention each must "
                f"divide its level's channels {self.channels}"
            )
        for values in (self.condition_mean, self.condition_std):
            if values and len(values) != self.conditions:
                raise LdmError(
                    f"{len(values)} condition statistics for {self.conditions} conditions"
                )

    @property
    def factor(self) -> int:
        """What every side of the latent must divide by."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def to_json(self) -> dict[str, Any]:
        """The fields; those of the branch only where there is one, which models made before it
        have not."""
        told = asdict(self)
        if not self.branch_channels:
            del told["branch_channels"], told["branch_blocks"]
        return told

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> DenoiserConfig:
        return cls(**tuples(document))


class Denoiser(nn.Module):
    """The U-Net: noisy latent, time step and scaled covariates to the predicted target.

    The covariates are both constant input channels and the single context token of
    cross-attention (Pinaya et al. 2022 section 2.2).
    """

    condition_mean: Tensor
    condition_std: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        from monai.networks.nets import DiffusionModelUNet

        self.config = config
        cells = config.patch**3
        self.net = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=config.latent_channels * cells + config.conditions,
            out_channels=config.latent_channels * cells,
            channels=config.channels,
            num_res_blocks=config.num_res_blocks,
            attention_levels=config.attention_levels,
            num_head_channels=list(config.head_channels),
            norm_num_groups=config.norm_num_groups,
            norm_eps=1e-6,
            resblock_updown=True,
            with_conditioning=True,
            transformer_num_layers=1,
            cross_attention_dim=config.conditions,
            upcast_attention=True,
        )
        self.branch: Branch | None = None
        if config.branch_channels:
            self.branch = Branch(
                latent_channels=config.latent_channels,
                channels=config.branch_channels,
                blocks=config.branch_blocks,
                norm_num_groups=config.norm_num_groups,
            )
        mean = torch.tensor(config.condition_mean or [0.0] * config.conditions)
        std = torch.tensor(config.condition_std or [1.0] * config.conditions)
        self.register_buffer("condition_mean", mean, persistent=False)
        self.register_buffer("condition_std", std, persistent=False)

    def forward(
        self, latent: Tensor, step: Tensor, conditions: Tensor, dropped: Tensor | None = None
    ) -> Tensor:
        """Prediction of the latent's shape.

        Args:
            latent: (B, C, x, y, z).
            step: (B,) integer time step.
            conditions: (B, K) scaled covariates.
            dropped: (B,) or (B, K) bool, where all conditions, or some, are left out (Ho &
                Salimans 2022).

        Raises:
            LdmError: conditions dropped in a model with no `null_condition`.
        """
        conditions = (conditions - self.condition_mean) / self.condition_std
        if dropped is not None:
            where = dropped if dropped.ndim == 2 else dropped[:, None]
            conditions = conditions.masked_fill(where, self._null())
        cells = space_to_depth(latent, self.config.patch)
        maps = conditions[:, :, None, None, None].expand(-1, -1, *cells.shape[2:])
        inputs = torch.cat([cells, maps.to(cells.dtype)], dim=1)
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        output = self.net(inputs, step, context=conditions[:, None, :])
        said = depth_to_space(output, self.config.patch)
        return said if self.branch is None else self.branch(latent, said, step)

    def _null(self) -> float:
        if self.config.null_condition is None:
            raise LdmError(
                "this model was trained with its conditions always given; guidance and sampling "
                "without conditions need one trained with --condition-dropout"
            )
        return self.config.null_condition


def with_inputs(
    weights: Mapping[str, Tensor], config: DenoiserConfig, places: Sequence[int | None]
) -> dict[str, Tensor]:
    """A U-Net's weights for other conditions: a new one is not heard of before it is learnt.

    Args:
        weights: of a network of `config`.
        places: for each condition, which one of `config` it is; None for a new one, whose weights
            begin at zero.
    """
    cells = config.latent_channels * config.patch**3
    found = dict(weights)
    for name, weight in weights.items():
        if name == "net.conv_in.conv.weight":
            conditions = _columns(weight[:, cells:], places)
            found[name] = torch.cat([weight[:, :cells], conditions], dim=1)
        elif name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")):
            found[name] = _columns(weight, places)
    return found


def _columns(weight: Tensor, places: Sequence[int | None]) -> Tensor:
    columns = weight.new_zeros(weight.shape[0], len(places), *weight.shape[2:])
    for here, place in enumerate(places):
        if place is not None:
            columns[:, here] = weight[:, place]
    return columns
