"""How much noise a promise of privacy takes: Opacus's accountant, asked."""

from __future__ import annotations

import warnings
from importlib.metadata import version

from ldm.errors import LdmError
from ldm.training.private.config import PrivacyConfig

# Numerical composition of privacy loss (Gopi et al. 2021).
_METHOD = "prv"


def noise_multiplier(privacy: PrivacyConfig) -> float:
    """The deviation of the noise over the most that a person adds to a step's sum.

    Raises:
        LdmError: no noise keeps the promise, or Opacus is not installed.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ModuleNotFoundError:
        raise LdmError(
            "private training needs Opacus, whose accountant tells how much noise it takes; "
            "install it: pip install '.[private]' in a checkout"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of logarithms of 0 on its way
        try:
            found: float = get_noise_multiplier(
                target_epsilon=privacy.epsilon,
                target_delta=privacy.delta,
                sample_rate=privacy.rate,
                steps=privacy.steps,
                accountant=_METHOD,
            )
        except ValueError:
            raise LdmError(
                f"epsilon {privacy.epsilon:g} at delta {privacy.delta:.2g} in {privacy.steps} "
                f"steps of {privacy.people_per_step:g} of {privacy.people} people: no noise keeps "
                "that promise; give a larger epsilon, fewer steps or fewer people a step"
            ) from None
    return found


def accountant_name() -> str:
    """What reckoned, for a model's card."""
    return f"PRV (Gopi et al. 2021), Opacus {version('opacus')}"
