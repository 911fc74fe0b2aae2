"""The networks of latent diffusion, built from plain configs over MONAI's blocks."""

from __future__ import annotations

from ldm.networks.autoencoder import Autoencoder, AutoencoderConfig, RefinerConfig
from ldm.networks.denoiser import Denoiser, DenoiserConfig
from ldm.networks.layout import channels_last, depth_to_space, space_to_depth

__all__ = [
    "Autoencoder",
    "AutoencoderConfig",
    "Denoiser",
    "DenoiserConfig",
    "RefinerConfig",
    "channels_last",
    "depth_to_space",
    "space_to_depth",
]
