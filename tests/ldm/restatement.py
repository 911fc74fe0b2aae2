"""The paper's sampling written down plainly over MONAI's networks: nothing of `ldm` in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from torch import Tensor


def alphas_bar() -> Tensor:
    """1000 betas from 0.0015 to 0.0205, linear in their square roots; Ho et al. 2020 eq. 4."""
    betas = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def epsilon(unet: DiffusionModelUNet, x: Tensor, t: int, conditions: Tensor) -> Tensor:
    """Hybrid conditioning (Pinaya et al. 2022, section 2.2): as channels and as the one token."""
    maps = conditions[:, :, None, None, None].expand(-1, -1, *x.shape[2:])
    return unet(
        torch.cat([x, maps], dim=1),
        timesteps=torch.full((len(x),), t),
        context=conditions[:, None, :],
    )


def ddim(
    unet: DiffusionModelUNet, noise: Tensor, conditions: Tensor, steps: int
) -> Iterator[Tensor]:
    """The latent after every step; Song et al. 2021 eq. 12 with sigma 0, `steps` a divisor."""
    abar, stride, x = alphas_bar(), 1000 // steps, noise
    for t in range(1000 - stride, -1, -stride):
        a, b = float(abar[t]), float(abar[t - stride]) if t >= stride else 1.0
        e = epsilon(unet, x, t, conditions)
        x0 = (x - (1 - a) ** 0.5 * e) / a**0.5
        x = b**0.5 * x0 + (1 - b) ** 0.5 * e
        yield x


def ddpm(
    unet: DiffusionModelUNet,
    noise: Tensor,
    conditions: Tensor,
    steps: int,
    drawn: Callable[[int], Tensor],
) -> Iterator[Tensor]:
    """The latent after every step; Ho et al. 2020 algorithm 2 with the variance of eq. 7.

    Over a part of the steps, alpha_t is the ratio of the two alphas_bar; drawn(i) is N(0, 1).
    """
    abar, stride, x = alphas_bar(), 1000 // steps, noise
    for i, t in enumerate(range(1000 - stride, -1, -stride)):
        a, b = float(abar[t]), float(abar[t - stride]) if t >= stride else 1.0
        alpha, beta = a / b, 1 - a / b
        e = epsilon(unet, x, t, conditions)
        mean = (x - beta / (1 - a) ** 0.5 * e) / alpha**0.5
        x = mean + ((1 - b) / (1 - a) * beta) ** 0.5 * drawn(i) if t >= stride else mean
        yield x


def decode(autoencoder: AutoencoderKL, latent: Tensor) -> Tensor:
    """The volume (B, X, Y, Z) in the network's own frame."""
    return autoencoder.decode_stage_2_outputs(latent)[:, 0]
