"""Classifier-free guidance: the conditions' part of a prediction, made larger."""

from __future__ import annotations

from torch import Tensor

from ldm.diffusion.samplers import Predict


def guided(conditional: Predict, unconditional: Predict, scale: float) -> Predict:
    """(1 - w) unconditional + w conditional: Ho & Salimans 2022 eq. 6 with their 1 + w as w.

    Being the same sum of image, noise or velocity alike, it needs not know what is predicted. The
    two are separate forward passes of the batch as it is, not one of twice its size: a guided
    batch takes no more memory than any other and runs the same kernels. At w = 1 and w = 0 only
    one of them runs.

    Args:
        scale: w; 1 is no guidance, 0 no conditions.
    """
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def predict(latent: Tensor, times: Tensor) -> Tensor:
        base = unconditional(latent, times).float()
        return base + scale * (conditional(latent, times).float() - base)

    return predict
