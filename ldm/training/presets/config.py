"""What a preset is: all that the runs of a training line must agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.networks import AutoencoderConfig, DenoiserConfig, RefinerConfig
from ldm.training.adversarial import PatchCriticConfig
from ldm.training.config import TrainingConfig
from ldm.training.features import FeatureConfig
from ldm.training.presets import fields
from ldm.volumes.grid import Grid

CHANNEL, ONE = SCALES = ("channel", "one")
NO_REFINER = RefinerConfig()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A grid, the two networks, the schedule, and how each network is trained.

    Attributes:
        name: what it is called: of the package's own, or the name of its file.
        grid: on which volumes are prepared, and which a model prints.
        autoencoder: volumes to latents and back.
        denoiser: the diffusion U-Net on the latents.
        refiner: what `train-decoder` puts after the decoder; without channels nothing.
        schedule: of the noise, and what the U-Net learns to say.
        latent_scale: what the latent's channels are divided by: "channel", each its own deviation,
            or "one", the paper's single factor, which leaves strong channels strong.
        latent_copies: copies of a volume that are encoded, itself and its mirror image first.
        standardise_conditions: whether the U-Net sees them with mean 0 and deviation 1.
        perceptual: where the network of the autoencoder's perceptual term comes from, as in
            `--perceptual`; nothing where that term has no weight.
        critic: of the autoencoder's adversarial term.
        features: the network of the perceptual term, where it is trained on the cohort.
        train_autoencoder, train_diffusion, train_decoder, train_features: how each is trained.
    """

    name: str
    grid: Grid
    autoencoder: AutoencoderConfig
    denoiser: DenoiserConfig
    refiner: RefinerConfig = NO_REFINER
    schedule: Schedule
    latent_scale: str = CHANNEL
    latent_copies: int
    standardise_conditions: bool
    perceptual: str = "cohort"
    critic: PatchCriticConfig
    features: FeatureConfig
    train_autoencoder: TrainingConfig
    train_diffusion: TrainingConfig
    train_decoder: TrainingConfig
    train_features: TrainingConfig

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, x, y, z) of a volume's latent."""
        sides = (side // self.autoencoder.factor for side in self.grid.shape)
        return (self.autoencoder.latent_channels, *sides)

    @property
    def null_condition(self) -> float:
        """What a dropped condition reads: a value far from any that a subject has."""
        return -4.0 if self.standardise_conditions else -1.0

    def __post_init__(self) -> None:
        shape, smallest = self.grid.shape, min(self.grid.shape)
        if smallest < self.critic.smallest_side:
            raise LdmError(
                f"preset {self.name}: grid {shape} is too small for a critic of "
                f"{self.critic.layers} layers; expected sides of {self.critic.smallest_side} up"
            )
        if smallest < self.features.piece:
            raise LdmError(
                f"preset {self.name}: features.piece {self.features.piece} is larger than grid "
                f"{shape}; expected {smallest} voxels or fewer"
            )
        if self.latent_copies < 1:
            raise LdmError(
                f"preset {self.name}: latent_copies {self.latent_copies}: expected at least 1"
            )
        if self.latent_scale not in SCALES:
            raise LdmError(
                f"preset {self.name}: latent_scale {self.latent_scale!r}: expected "
                f"{' or '.join(SCALES)}"
            )
        if not self.perceptual:
            raise LdmError(
                f"preset {self.name}: perceptual is empty: expected cohort, monai, a path or off"
            )
        self._check_divides(
            self.autoencoder.factor * self.denoiser.factor,
            "the autoencoder's factor times the U-Net's",
        )
        self._check_divides(self.refiner.factor, "the refiner's factor")
        self._check_divides(self.features.factor, "the factor of the perceptual term's network")

    def _check_divides(self, factor: int, whose: str) -> None:
        shape = self.grid.shape
        if any(side % factor for side in shape):
            near = tuple(max(1, round(side / factor)) * factor for side in shape)
            raise LdmError(
                f"preset {self.name}: grid {shape} must divide by {factor}, {whose}; such as {near}"
            )

    def to_json(self) -> dict[str, Any]:
        """The name and every field that a file has, for another process or a card."""
        return {"name": self.name, **fields.told(self)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Preset:
        """The preset that `to_json` wrote, or that a file has, with the name beside its fields.

        Raises:
            LdmError: a field that is unknown, missing, of another type or does not work.
        """
        rest = {key: value for key, value in document.items() if key != "name"}
        return fields.read(cls, rest, str(document["name"]))
