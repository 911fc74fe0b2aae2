"""The shapes of the GAN baselines' networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ldm.errors import LdmError
from ldm.untrusted import MOST_CHANNELS, MOST_PATCH, check_whole

LSGAN, VAE_GAN = KINDS = ("lsgan", "vae-gan")

MOST_SIDE = 1024
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The generator: a latent vector becomes a small grid, every level doubles its sides.

    Attributes:
        shape: voxels of the volume it makes.
        latent: length of the latent vector.
        channels: width of each level, the coarsest first.
        norm_num_groups: groups of the group normalisation.
        patch: side of the depth-to-space step at the end, which makes full-resolution layers
            affordable on a CPU; 1 leaves it out.
    """

    shape: Shape
    latent: int
    channels: tuple[int, ...]
    norm_num_groups: int
    patch: int = 1

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("latent", "channels", "norm_num_groups")}
        check_whole("generator", 1, MOST_CHANNELS, **sizes)
        check_whole("generator", 1, MOST_PATCH, patch=self.patch)
        check_whole("generator", 1, MOST_SIDE, shape=self.shape)
        if not self.channels or any(c % self.norm_num_groups for c in self.channels):
            raise LdmError(
                f"generator channels {self.channels}: each must divide by "
                f"norm_num_groups {self.norm_num_groups}"
            )
        coarsest(self.shape, self.patch, self.channels)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> GeneratorConfig:
        fields: dict[str, Any] = dict(document)
        fields |= {name: tuple(fields[name]) for name in ("shape", "channels")}
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """The critic, and the trunk of the VAE-GAN's encoder: every level but the first halves.

    Attributes:
        shape: voxels of the volume it sees.
        channels: width of each level, the finest first.
        feature_level: the level, from 0, whose output is "layer l" of Larsen et al. 2016, in
            which the VAE-GAN compares a volume with its reconstruction.
        patch: side of the space-to-depth step before the first level; 1 leaves it out.
    """

    shape: Shape
    channels: tuple[int, ...]
    feature_level: int
    patch: int = 1

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise LdmError(f"critic channels {self.channels}: expected a width a level")
        if not 0 <= self.feature_level < len(self.channels):
            raise LdmError(
                f"critic feature_level {self.feature_level}: expected 0 to {len(self.channels) - 1}"
            )
        coarsest(self.shape, self.patch, self.channels)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def coarsest(shape: Shape, patch: int, channels: tuple[int, ...]) -> Shape:
    """Sides of the coarsest level's grid.

    Raises:
        LdmError: a side that the levels do not divide.
    """
    factor = patch * 2 ** (len(channels) - 1)
    if len(shape) != 3 or patch < 1 or any(side < 1 or side % factor for side in shape):
        raise LdmError(f"volume of {shape} voxels: each side must divide by {factor}, the levels'")
    x, y, z = (side // factor for side in shape)
    return x, y, z
