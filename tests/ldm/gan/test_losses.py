"""The losses of the baselines against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ldm.gan import losses


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def test_least_squares_is_half_the_squared_distance_from_each_label() -> None:
    # 1/2 mean((2-1)^2, (0-1)^2) + 1/2 mean((1-0)^2, (3-0)^2) = 1/2 + 5/2
    assert losses.least_squares_critic(values(2, 0), values(1, 3)).item() == 3.0
    # 1/2 mean((1-1)^2, (3-1)^2) = 1
    assert losses.least_squares_generator(values(1, 3)).item() == 1.0


def test_a_critic_that_is_right_loses_nothing_and_a_generator_that_fools_it_neither() -> None:
    assert losses.least_squares_critic(values(1, 1), values(0, 0)).item() == 0
    assert losses.least_squares_generator(values(1, 1)).item() == 0


def test_cross_entropy_counts_the_real_the_reconstructed_and_the_sampled() -> None:
    # log Dis(x) + log(1 - Dis(x')) + log(1 - Dis(x_p)), each log 1/2 at a logit of 0
    undecided = losses.cross_entropy_critic(values(0), values(0, 0)).item()
    assert undecided == pytest.approx(3 * math.log(2))
    # sigmoid(log 3) = 3/4: right by 3/4 about all three
    right = losses.cross_entropy_critic(values(math.log(3)), values(*[-math.log(3)] * 2)).item()
    assert right == pytest.approx(-3 * math.log(3 / 4))


def test_the_decoder_wants_both_of_its_volumes_taken_for_real() -> None:
    loss = losses.cross_entropy_generator(values(math.log(3), -math.log(3))).item()
    assert loss == pytest.approx(-math.log(3 / 4) - math.log(1 / 4))


def test_the_likelihood_is_a_unit_gaussians_in_the_space_of_features() -> None:
    found, wanted = values(1, 2, 5), values(1, 0, 1)
    gaussian = torch.distributions.Normal(found, 1.0)
    constant = 0.5 * math.log(2 * math.pi)
    wanted_loss = -gaussian.log_prob(wanted).mean().item() - constant
    assert losses.feature_likelihood(found, wanted).item() == pytest.approx(wanted_loss)
    assert wanted_loss == pytest.approx((0 + 4 + 16) / 6)


def test_the_divergence_from_the_prior_is_the_closed_form_of_two_gaussians() -> None:
    mean, std = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, 2.0]])
    posterior = torch.distributions.Normal(mean, std)
    prior = torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    wanted = torch.distributions.kl_divergence(posterior, prior).mean().item()
    found = losses.prior_divergence(mean, 2 * std.log()).item()
    assert found == pytest.approx(wanted, rel=1e-5)
    assert losses.prior_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0
