"""What a training run is: the numbers that two runs must share to be the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ldm.errors import LdmError

PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one network is trained.

    Attributes:
        steps: optimizer steps; a finished run goes on when asked for more.
        batch_size: samples an optimizer step, over all workers.
        learning_rate: AdamW's, after the warm-up.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's.
        ema_decay: decay of the averaged weights; ramps up as (1 + s) / (10 + s).
        kl_weight: weight of the KL term of the autoencoder.
        clip_norm: largest norm of the gradient.
        micro_batch: samples a worker holds at once; 0 takes its whole share.
        save_every: steps between checkpoints; validation and previews fall on them.
        seed: of the initial weights, the order of samples and all noise.
        precision: "bf16" (autocast) or "fp32".
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 100
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    kl_weight: float = 1e-6
    clip_norm: float = 1.0
    micro_batch: int = 0
    save_every: int = 250
    seed: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise LdmError(f"{name} {getattr(self, name)}: expected at least 1")
        for name in ("warmup_steps", "micro_batch"):
            if getattr(self, name) < 0:
                raise LdmError(f"{name} {getattr(self, name)}: expected at least 0")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise LdmError(f"{name} {getattr(self, name)}: expected a positive number")
        if not 0 <= self.ema_decay < 1:
            raise LdmError(f"ema_decay {self.ema_decay}: expected 0 <= decay < 1")
        if self.precision not in PRECISIONS:
            raise LdmError(f"precision {self.precision!r}: expected one of {PRECISIONS}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TrainingConfig:
        return cls(**document)

    def identity(self) -> dict[str, Any]:
        """The fields that must not change within a run: all but how long and how often saved."""
        return {k: v for k, v in self.to_json().items() if k not in ("steps", "save_every")}
