"""What a private training promises to each of the people, and by what means."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ldm.errors import LdmError

BIASES, ALL = "biases", "all"
TUNED = (BIASES, ALL)


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """(epsilon, delta)-differential privacy of a network's weights, a person as its unit.

    Two cohorts are neighbours where one has one person more. DP-SGD (Abadi et al. 2016): each
    step takes every person with the same probability, whoever else is taken.

    Attributes:
        epsilon, delta: of the whole run, all its checkpoints together.
        people: who are trained on; their number is not kept secret.
        people_per_step: of them, on average.
        steps: of the optimizer; more of them want more noise in each.
        draws: noisy latents of a person in a step, of whose gradients the mean is taken first: a
            person's share is bounded as a whole.
        tuned: "biases", the weights with one side (biases, and the gains of normalisations; Bu et
            al. 2022), or "all": noise is added to each weight, so that fewer of them are disturbed
            less.
    """

    epsilon: float
    delta: float
    people: int
    people_per_step: float
    steps: int
    draws: int = 4
    tuned: str = BIASES

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 100:
            raise LdmError(f"epsilon {self.epsilon:g}: expected above 0 and below 100")
        if not 0 < self.delta < 1 / self.people:
            raise LdmError(
                f"delta {self.delta:g}: expected above 0 and below one over the {self.people} "
                f"people, {1 / self.people:.2g}: with more a person may be given away whole"
            )
        if not 0 < self.people_per_step <= self.people:
            raise LdmError(
                f"{self.people_per_step:g} people a step: expected above 0, and no more than the "
                f"{self.people} there are"
            )
        if self.steps < 1 or self.draws < 1:
            raise LdmError(f"{self.steps} steps of {self.draws} draws: expected at least 1 of each")
        if self.tuned not in TUNED:
            raise LdmError(f"tuned {self.tuned!r}: expected {' or '.join(TUNED)}")

    @property
    def rate(self) -> float:
        """The probability with which a step takes a person."""
        return self.people_per_step / self.people

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PrivacyConfig:
        return cls(**document)
