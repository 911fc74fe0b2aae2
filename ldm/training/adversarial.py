"""The patch critic of the autoencoder, and the least-squares loss it is played with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError


@dataclass(frozen=True, kw_only=True)
class PatchCriticConfig:
    """MONAI's patch discriminator (Isola et al. 2017 section 3.2.2) in three dimensions.

    Attributes:
        channels: width of the first convolution; every later one doubles it.
        layers: convolutions after the first; all but the last halve the sides.
    """

    channels: int
    layers: int

    def __post_init__(self) -> None:
        for name in ("channels", "layers"):
            if getattr(self, name) < 1:
                raise LdmError(f"critic {name} {getattr(self, name)}: expected at least 1")

    @property
    def smallest_side(self) -> int:
        """The shortest side of a volume of which it still judges a patch."""
        return 3 * 2**self.layers

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PatchCriticConfig:
        return cls(**document)


class PatchCritic(nn.Module):
    """Volumes (B, 1, X, Y, Z) to one number a patch, (B, 1, x, y, z): 1 real, 0 reconstructed.

    Instance norm stands where the published code has batch norm: a sample's judgement then
    depends on no other sample, so that micro-batches and any number of workers give the same
    step. At the published batch of one a GPU the two compute the same.
    """

    def __init__(self, config: PatchCriticConfig) -> None:
        super().__init__()
        from monai.networks.nets import PatchDiscriminator

        self.config = config
        self.net = PatchDiscriminator(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            channels=config.channels,
            num_layers_d=config.layers,
            norm=("INSTANCE", {"affine": True}),
        )

    def forward(self, volume: Tensor) -> Tensor:
        judged: Tensor = self.net(volume)[-1]
        return judged.float()


def generator_loss(judged: Tensor) -> Tensor:
    """mean (D(x') - 1)^2: the reconstruction should pass for real (Mao et al. 2017 eq. 9)."""
    return (judged - 1).pow(2).mean()


def critic_loss(critic: nn.Module, real: Tensor, found: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(mean (D(x) - 1)^2 + mean D(x')^2) / 2 (Mao et al. 2017 eq. 9), and its two halves.

    The logits are squared as they are: MONAI's `PatchAdversarialLoss` would put them through a
    LeakyReLU first unless told not to. There may be more of one than of the other.
    """
    judged = critic(torch.cat([real, found]))
    on_real, on_found = judged.split([len(real), len(found)])
    parts = {"real": (on_real - 1).pow(2).mean(), "reconstructed": on_found.pow(2).mean()}
    return 0.5 * (parts["real"] + parts["reconstructed"]), parts


class CriticWatch:
    """Tells once when a critic wins: its loss stays near 0, and so does the gradient that the
    other network could learn from (Arjovsky & Bottou 2017).

    Least squares and cross-entropy both come to 0 where every judgement is right; where the critic
    only guesses they are 0.25 and 1.39.
    """

    NEAR_0 = 0.02
    STEPS = 200

    def __init__(self) -> None:
        self._count, self._mean, self._told = 0, 0.0, False

    def seen(self, loss: float) -> str | None:
        """What to tell after a step with this loss of the critic; nothing but the first time."""
        self._count += 1
        self._mean += (loss - self._mean) / min(self._count, self.STEPS)
        if self._told or self._count < self.STEPS or self._mean >= self.NEAR_0:
            return None
        self._told = True
        return (
            f"the critic wins: its loss has been about {self._mean:.2g} for {self.STEPS} steps, so "
            "that the adversarial term teaches next to nothing; in a new --out, lower the critic's "
            "learning rate or the term's weight, or let it begin later and rise over more steps "
            "(adversarial_from, adversarial_warmup)"
        )
