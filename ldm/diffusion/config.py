"""How a latent is drawn: the sampler, its steps and options, checked before anything runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ldm.errors import LdmError
from ldm.untrusted import MOST_STEPS, check_whole


class Sampler(StrEnum):
    """How noise becomes a latent.

    DDIM: Song et al. 2021; deterministic at eta 0.
    DDPM: Ho et al. 2020; draws new noise at every step.
    DPM_2M: DPM-Solver++(2M), Lu et al. 2022 algorithm 2; second order, few steps.
    UNIPC: Zhao et al. 2023; corrects each prediction at no further call, fewest steps.
    """

    DDIM = "ddim"
    DDPM = "ddpm"
    DPM_2M = "dpm++2m"
    UNIPC = "unipc"


SAMPLERS = tuple(str(sampler) for sampler in Sampler)
# Calls of the denoiser where the user does not say.
DEFAULT_STEPS = {Sampler.DDIM: 50, Sampler.DDPM: 1000, Sampler.DPM_2M: 20, Sampler.UNIPC: 15}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample a latent.

    Attributes:
        sampler: one of `SAMPLERS`.
        steps: calls of the denoiser; None takes the sampler's own number.
        eta: of DDIM, the share of DDPM's noise put in at every step (Song et al. 2021 eq. 16).
        guidance: weight w of the conditions in classifier-free guidance (Ho & Salimans 2022):
            1 is the model as it is, more follows the conditions more closely, 0 leaves them out.
    """

    sampler: str = Sampler.DDIM
    steps: int | None = None
    eta: float = 0.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise LdmError(f"sampler {self.sampler!r}: expected one of {', '.join(SAMPLERS)}")
        if not 0 <= self.eta <= 1:
            raise LdmError(f"eta {self.eta:g}: expected 0 (deterministic) to 1 (as much as DDPM)")
        if self.eta and self.sampler != Sampler.DDIM:
            raise LdmError(f"eta {self.eta:g} with sampler {self.sampler}: only ddim takes an eta")
        if not 0 <= self.guidance < math.inf:
            raise LdmError(
                f"guidance {self.guidance:g}: expected 0 (no conditions), 1 (none) or more"
            )

    @property
    def count(self) -> int:
        """Calls of the denoiser."""
        return DEFAULT_STEPS[Sampler(self.sampler)] if self.steps is None else self.steps

    @property
    def noise_share(self) -> float:
        """The noise put in at every step, of DDPM's: eta, and 1 for DDPM itself."""
        return 1.0 if self.sampler == Sampler.DDPM else self.eta

    @property
    def text(self) -> str:
        """For people: `50 ddim steps, eta 0.5, guidance 3`."""
        eta = f", eta {self.eta:g}" if self.eta else ""
        guidance = f", guidance {self.guidance:g}" if self.guidance != 1 else ""
        return f"{self.count} {self.sampler} steps{eta}{guidance}"

    def options(self) -> dict[str, Any]:
        """As keywords of `Model.generate`."""
        return asdict(self)

    def altered(self, **given: Any) -> Sampling:
        """This, with what is given and not None in its place.

        Another sampler comes with steps and eta of its own; guidance stays, being the model's.

        Raises:
            LdmError: options that do not go together.
        """
        given = {name: value for name, value in given.items() if value is not None}
        kept = self.options()
        if given.get("sampler", self.sampler) != self.sampler:
            del kept["steps"], kept["eta"]
        return Sampling(**{**kept, **given})

    def to_json(self) -> dict[str, Any]:
        """What differs from `Sampling()`."""
        usual = Sampling().options()
        return {name: value for name, value in self.options().items() if value != usual[name]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Sampling:
        """Raises LdmError, TypeError or ValueError where it is no such document."""
        steps = document.get("steps")
        if steps is not None:
            check_whole("sampling", 1, MOST_STEPS, steps=steps)
        found = dict(document)
        found.update({name: float(found[name]) for name in ("eta", "guidance") if name in found})
        return cls(**found)
