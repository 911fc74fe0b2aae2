"""Which kind of model a source is: it is described, and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ldm.errors import LdmError
from ldm.models.bundle.description import describe_bundle
from ldm.models.bundle.layout import INFERENCE, WEIGHTS
from ldm.models.bundle.source import is_bundle
from ldm.models.description import AUTOENCODER, CONFIG, DENOISER, GAN, ModelDescription
from ldm.models.folder import describe_folder, reading, verified

if TYPE_CHECKING:
    from ldm.models.base import LoadedModel
    from ldm.networks.weights import Network


def describe(source: str | Path) -> ModelDescription:
    """What the model at `source` says of itself, without torch and without its weights.

    Args:
        source: "demo", a folder, an s3:// URI, or a MONAI bundle as "monai" or "monai:DIR".

    Raises:
        LdmError: no model there, a file of it missing or damaged, or a newer format.
    """
    return describe_bundle(source) if is_bundle(source) else describe_folder(source)


def load(
    source: str | Path = "demo",
    *,
    device: str | None = None,
    precision: str = "auto",
    compiled: bool = False,
) -> LoadedModel:
    """The model at `source`, every file of it checked against its digest; no pickle is read.

    Args:
        source: "demo", a folder, an s3:// URI, or a MONAI bundle as "monai" or "monai:DIR".
        device: a torch device; by default "cuda" where there is one, else "cpu".
        precision: "auto", "bf16" or "fp32".
        compiled: let `torch.compile` fuse the networks, at their first use, which takes minutes;
            results change by rounding. A GAN is left as it is.

    Raises:
        LdmError: no model there, or a file of it missing or damaged.
    """
    import torch

    from ldm.networks.precision import resolve

    description = describe(source)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve(precision, device)
    if description.kind == GAN:
        from ldm.gan.model import load_gan

        return load_gan(source, description, device=device, precision=precision)
    return _latent_diffusion(source, description, device, precision, compiled=compiled)


def _latent_diffusion(
    source: str | Path,
    description: ModelDescription,
    device: str,
    precision: str,
    *,
    compiled: bool,
) -> LoadedModel:
    from ldm.diffusion.schedule import Schedule
    from ldm.models.bundle.weights import load_bundle
    from ldm.models.latent_diffusion import Model
    from ldm.networks import Autoencoder, AutoencoderConfig, Denoiser, DenoiserConfig
    from ldm.networks.weights import build

    with reading(source, INFERENCE if is_bundle(source) else CONFIG):
        first = AutoencoderConfig.from_json(description.autoencoder)
        second = DenoiserConfig.from_json(description.denoiser)
        Schedule.from_json(description.schedule)
        channels = {first.latent_channels, second.latent_channels}
        channels |= {len(description.latent_mean), len(description.latent_std)}
        if len(channels) > 1 or second.conditions != len(description.schema.inputs):
            raise LdmError("networks, latent statistics and covariates do not fit together")
    if is_bundle(source):
        stored = [description.files[name]["bytes"] for name in WEIGHTS]
        autoencoder = build(lambda: Autoencoder(first), stored[0], f"{source}: {WEIGHTS[0]}")
        denoiser = build(lambda: Denoiser(second), stored[1], f"{source}: {WEIGHTS[1]}")
        load_bundle(source, autoencoder, denoiser)
    else:
        autoencoder = _from_file(lambda: Autoencoder(first), source, AUTOENCODER, description)
        denoiser = _from_file(lambda: Denoiser(second), source, DENOISER, description)
    return Model(
        description,
        autoencoder,
        denoiser,
        device=device,
        precision=precision,
        compiled=compiled,
    )


def _from_file(
    make: Callable[[], Network], source: str | Path, name: str, description: ModelDescription
) -> Network:
    """A network with the weights of the file `name`, checked before anything is built for them."""
    from ldm.networks.weights import build, load_weights

    data = verified(source, name, description.files)
    network = build(make, len(data), f"{source}: {name}")
    load_weights(network, data, f"{source}: {name}")
    return network
