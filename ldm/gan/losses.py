"""The losses of the baselines, as their papers write them."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

# Mao et al. 2017 eq. 9, the 0-1 coding of eq. 2: what the critic should say of a made volume and
# of a real one, and what the generator wants it to say.
MADE, REAL, WANTED = 0.0, 1.0, 1.0


def least_squares_critic(real: Tensor, made: Tensor) -> Tensor:
    """1/2 E[(D(x) - b)^2] + 1/2 E[(D(G(z)) - a)^2], Mao et al. 2017 eq. 2; each (B,)."""
    return 0.5 * (real - REAL).pow(2).mean() + 0.5 * (made - MADE).pow(2).mean()


def least_squares_generator(made: Tensor) -> Tensor:
    """1/2 E[(D(G(z)) - c)^2], Mao et al. 2017 eq. 2; (B,)."""
    return 0.5 * (made - WANTED).pow(2).mean()


def cross_entropy_critic(real: Tensor, made: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(x'))] on logits, Larsen et al. 2016 eq. 5.

    `made` holds as many reconstructions as samples of the prior: both are counted, as in their
    section 2.3, so its mean is doubled.
    """
    return softplus(-real).mean() + 2 * softplus(made).mean()


def cross_entropy_generator(made: Tensor) -> Tensor:
    """-E[log D(x')] on logits, over reconstructions and samples of the prior.

    The form of Goodfellow et al. 2014 (section 3) that does not saturate, in place of
    E[log(1 - D(x'))] of Larsen et al. 2016.
    """
    return 2 * softplus(-made).mean()


def feature_likelihood(found: Tensor, wanted: Tensor) -> Tensor:
    """-log N(D_l(x) | D_l(x'), I) but for its constant, a feature; Larsen et al. 2016 eq. 6-7.

    The mean over features where the paper has the sum: the weights of the other terms are to be
    read against that.
    """
    return 0.5 * (found - wanted).pow(2).mean()


def prior_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, 1)), Larsen et al. 2016 eq. 4, the mean over latent values; (B, L) each."""
    return 0.5 * (mean.pow(2) + log_variance.exp() - log_variance - 1).mean()
