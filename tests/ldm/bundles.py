"""MONAI bundle folders with random weights, as the model zoo has them: old key names and all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Widths of the paper's two networks, and the volume that they make."""

    shape: tuple[int, int, int]
    autoencoder: tuple[int, ...]
    denoiser: tuple[int, ...]
    groups: int

    @property
    def autoencoder_def(self) -> dict[str, Any]:
        return {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 1,
            "latent_channels": 3,
            "channels": list(self.autoencoder),
            "num_res_blocks": 2,
            "norm_num_groups": self.groups,
            "norm_eps": 1e-06,
            "attention_levels": [False] * 4,
            "with_encoder_nonlocal_attn": False,
            "with_decoder_nonlocal_attn": False,
        }

    @property
    def diffusion_def(self) -> dict[str, Any]:
        return {
            "spatial_dims": 3,
            "in_channels": 7,
            "out_channels": 3,
            "channels": list(self.denoiser),
            "num_res_blocks": 2,
            "attention_levels": [False, True, True],
            "norm_num_groups": self.groups,
            "norm_eps": 1e-06,
            "resblock_updown": True,
            "num_head_channels": [0, *self.denoiser[1:]],
            "with_conditioning": True,
            "transformer_num_layers": 1,
            "cross_attention_dim": 4,
            "upcast_attention": True,
            "use_flash_attention": False,
        }


PAPER = Architecture(
    shape=(160, 224, 160), autoencoder=(64, 128, 128, 128), denoiser=(256, 512, 768), groups=32
)
NARROW = Architecture(
    shape=(32, 64, 32), autoencoder=(8, 16, 16, 16), denoiser=(16, 24, 32), groups=8
)


def networks(architecture: Architecture, seed: int = 0) -> tuple[AutoencoderKL, DiffusionModelUNet]:
    """MONAI's networks themselves, with random weights and none of them zero.

    A new U-Net ends in zeros and ignores its input. The decoder's last bias lifts the volume to
    a brightness that the quality check takes for a head.
    """
    torch.manual_seed(seed)
    autoencoder = AutoencoderKL(**architecture.autoencoder_def)
    denoiser = DiffusionModelUNet(**architecture.diffusion_def)
    for network in (autoencoder, denoiser):
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    nn.init.constant_(autoencoder.decoder.blocks[-1].conv.bias, 0.2)
    return autoencoder.eval(), denoiser.eval()


def old_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict as the package `generative` named it."""
    return {
        name.replace(".postconv.", ".conv.").replace(".out_proj.", ".to_out.0."): tensor
        for name, tensor in state.items()
    }


def write_bundle(
    folder: Path,
    architecture: Architecture = NARROW,
    *,
    seed: int = 0,
    old: bool = True,
    nets: tuple[nn.Module, nn.Module] | None = None,
) -> Path:
    """An unpacked bundle with the fields of the zoo's; key names old or of MONAI core."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    shape = list(architecture.shape)
    metadata = {
        "version": "1.0.0",
        "monai_version": "1.4.0",
        "task": "Brain image synthesis",
        "description": "random weights",
        "authors": "nobody",
        "network_data_format": {
            "inputs": {"image": {"type": "tabular", "num_channels": 1, "spatial_shape": shape}},
            "outputs": {"pred": {"type": "image", "num_channels": 1, "spatial_shape": shape}},
        },
    }
    inference = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "load_old": int(old),
        "model_dir": "$@bundle_root + '/models'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "autoencoder_def": {
            "_target_": "monai.networks.nets.AutoencoderKL",
            **architecture.autoencoder_def,
        },
        "diffusion_def": {
            "_target_": "monai.networks.nets.DiffusionModelUNet",
            **architecture.diffusion_def,
        },
        "scheduler": {
            "_target_": "monai.networks.schedulers.DDIMScheduler",
            "_requires_": ["@load_diffusion", "@load_autoencoder"],
            "beta_start": 0.0015,
            "beta_end": 0.0205,
            "num_train_timesteps": 1000,
            "schedule": "scaled_linear_beta",
            "clip_sample": False,
        },
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    named = old_names if old else dict
    nets = nets or networks(architecture, seed)
    for name, network in zip(("autoencoder", "model"), nets, strict=True):
        torch.save(named(network.state_dict()), folder / "models" / f"{name}.pt")
    return folder
