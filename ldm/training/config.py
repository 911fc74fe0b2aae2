"""What a training run is: the numbers that two runs must share to be the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ldm.diffusion.emphasis import NO_WEIGHTING, TIMESTEPS, UNIFORM, WEIGHTINGS
from ldm.errors import LdmError

# Fields that earlier runs did not know, and what those had.
_LATER = {
    "loss_weighting": NO_WEIGHTING,
    "timesteps": UNIFORM,
    "adversarial_warmup": 0,
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one network is trained.

    Attributes:
        steps: optimizer steps; a finished run goes on when asked for more.
        batch_size: samples an optimizer step, over all workers.
        learning_rate: AdamW's, between warm-up and cool-down.
        critic_learning_rate: the critic's, where the loss is adversarial.
        beta1: AdamW's decay of the gradient's mean; GANs want less of it.
        warmup_steps: steps of linear warm-up.
        cooldown_steps: last steps, in which the rate falls linearly towards 0.
        weight_decay: AdamW's.
        ema_decay: decay of the averaged weights; ramps up as (1 + s) / (10 + s).
        kl_weight: weight of the KL term of the autoencoder, a sum over the values of a latent.
        perceptual_weight: weight of the perceptual term of the autoencoder; 0 leaves it out.
        adversarial_weight: weight of the patch-adversarial term; 0 leaves it out.
        adversarial_from: step from which the critic plays.
        adversarial_warmup: steps from there over which the weight of the autoencoder's
            patch-adversarial term rises linearly from 0.
        condition_dropout: share of training samples whose covariates are dropped, so that the
            model learns to sample without them too.
        loss_weighting: of the diffusion model's loss over noise levels: "none", or "min-snr" (Hang
            et al. 2023, gamma 5).
        timesteps: how the diffusion model's time steps are drawn: "uniform", or "logit-normal"
            (Esser et al. 2024), more from the middle.
        clip_norm: largest norm of the gradient.
        micro_batch: samples a worker holds at once; 0 takes its whole share.
        activation_checkpointing: compute activations again on the way back instead of keeping
            them: the same step in less memory and more time.
        save_every: steps between checkpoints; validation and previews fall on them.
        seed: of the initial weights, the order of samples and all noise.
        precision: "bf16" (autocast) or "fp32".
    """

    steps: int
    batch_size: int
    learning_rate: float
    critic_learning_rate: float = 1e-4
    beta1: float = 0.9
    warmup_steps: int = 100
    cooldown_steps: int = 0
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    kl_weight: float = 1e-6
    perceptual_weight: float = 0.0
    adversarial_weight: float = 0.0
    adversarial_from: int = 0
    adversarial_warmup: int = 0
    condition_dropout: float = 0.0
    loss_weighting: str = NO_WEIGHTING
    timesteps: str = UNIFORM
    clip_norm: float = 1.0
    micro_batch: int = 0
    activation_checkpointing: bool = False
    save_every: int = 250
    seed: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise LdmError(f"{name} {getattr(self, name)}: expected at least 1")
        at_least_0 = ("warmup_steps", "cooldown_steps", "adversarial_from", "adversarial_warmup")
        for name in (*at_least_0, "micro_batch"):
            if getattr(self, name) < 0:
                raise LdmError(f"{name} {getattr(self, name)}: expected at least 0")
        for name in ("learning_rate", "critic_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise LdmError(f"{name} {getattr(self, name)}: expected a positive number")
        for name in ("kl_weight", "perceptual_weight", "adversarial_weight"):
            if not getattr(self, name) >= 0:
                raise LdmError(f"{name} {getattr(self, name)}: expected 0 or more")
        for name in ("beta1", "ema_decay", "condition_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise LdmError(f"{name} {getattr(self, name)}: expected 0 <= {name} < 1")
        for name, known in (("loss_weighting", WEIGHTINGS), ("timesteps", TIMESTEPS)):
            if getattr(self, name) not in known:
                found = getattr(self, name)
                raise LdmError(f"{name} {found!r}: expected {' or '.join(known)}")
        # Here, for it brings torch, which a verb's --help does without.
        from ldm.networks.precision import PRECISIONS

        if self.precision not in PRECISIONS:
            raise LdmError(f"precision {self.precision!r}: expected one of {tuple(PRECISIONS)}")

    def rate_at(self, step: int) -> float:
        """The share of the learning rate at which step `step` (from 1) is taken."""
        warm = step / max(self.warmup_steps, 1)
        left = (self.steps - step + 1) / (self.cooldown_steps + 1)
        return min(1.0, warm, left) if self.cooldown_steps else min(1.0, warm)

    def adversarial_weight_at(self, step: int) -> float:
        """The weight of the patch-adversarial term in step `step` (from 0)."""
        played = step - self.adversarial_from + 1
        return self.adversarial_weight * min(1.0, played / max(self.adversarial_warmup, 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TrainingConfig:
        return cls(**document)

    def identity(self) -> dict[str, Any]:
        """The fields that must not change within a run: all that shape its weights, but their
        number of steps."""
        free = ("steps", "save_every", "activation_checkpointing")
        return {
            k: v
            for k, v in self.to_json().items()
            if k not in free and (k not in _LATER or v != _LATER[k])
        }
