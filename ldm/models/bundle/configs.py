"""A bundle's configs as the configs of `ldm.networks`: read as plain JSON, never evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.models.bundle.layout import INFERENCE, METADATA
from ldm.untrusted import MOST_BYTES, parse_object

CONDITIONS = 4
MARK = "brainpress"  # the field of metadata.json by which an exported bundle is known
# What `ldm.networks` builds and a config must agree with; None stands for "not given".
_AUTOENCODER = {
    "spatial_dims": (3,),
    "in_channels": (1,),
    "out_channels": (1,),
    "norm_eps": (1e-6, None),
    "with_encoder_nonlocal_attn": (False,),
    "with_decoder_nonlocal_attn": (False,),
}
_DENOISER = {
    "spatial_dims": (3,),
    "norm_eps": (1e-6, None),
    "resblock_updown": (True,),
    "with_conditioning": (True,),
    "transformer_num_layers": (1, None),
    "cross_attention_dim": (CONDITIONS,),
}
# What MONAI core calls a field, and what its earlier package `generative` called it.
_FORMERLY = {"channels": "num_channels", "schedule": "beta_schedule"}
_SCHEDULE = {
    "schedule": ("scaled_linear_beta", "scaled_linear"),
    "prediction_type": ("epsilon", None),
    "clip_sample": (False,),
}


def read_configs(folder: Path, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """configs/metadata.json and configs/inference.json.

    MONAI's own parser evaluates every value that begins with "$" as Python; here a bundle's
    config is data and nothing else.

    Raises:
        LdmError: not JSON, or a bundle that was exported here: its covariates are its own.
    """
    documents = []
    for name in (METADATA, INFERENCE):
        try:
            with (folder / name).open("rb") as stream:
                documents.append(parse_object(stream.read(MOST_BYTES + 1)))
        except (OSError, ValueError) as error:
            raise LdmError(f"{source}: {name} is not readable JSON ({error})") from None
    metadata, inference = documents
    if MARK in metadata:
        raise LdmError(
            f"{source}: exported by brainpress, and runs with MONAI; give brainpress the model "
            "that it was exported from"
        )
    return metadata, inference


def network_configs(
    inference: Mapping[str, Any], source: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The fields of `AutoencoderConfig`, `DenoiserConfig` and `Schedule`.

    Raises:
        LdmError: a field that is missing or no plain value, or another architecture.
    """
    autoencoder = _Section(inference, "autoencoder_def", source)
    denoiser = _Section(inference, "diffusion_def", source)
    schedule = _Section(inference, "scheduler", source)
    for section, wanted in (
        (
            autoencoder,
            _AUTOENCODER | {"attention_levels": ([False] * len(autoencoder.channels()),)},
        ),
        (denoiser, _DENOISER),
        (schedule, _SCHEDULE),
    ):
        section.expect(wanted)
    latent = autoencoder.number("latent_channels")
    denoiser.expect({"in_channels": (latent + CONDITIONS,), "out_channels": (latent,)})
    return (
        {
            "channels": autoencoder.channels(),
            "latent_channels": latent,
            "num_res_blocks": autoencoder.number("num_res_blocks"),
            "norm_num_groups": autoencoder.number("norm_num_groups"),
        },
        {
            "latent_channels": latent,
            "conditions": CONDITIONS,
            "channels": denoiser.channels(),
            "num_res_blocks": denoiser.number("num_res_blocks"),
            "attention_levels": denoiser.numbers("attention_levels"),
            "head_channels": denoiser.numbers("num_head_channels"),
            "norm_num_groups": denoiser.number("norm_num_groups"),
        },
        {
            "steps": schedule.number("num_train_timesteps"),
            "beta_start": schedule.number("beta_start"),
            "beta_end": schedule.number("beta_end"),
            "prediction": "epsilon",
        },
    )


def volume_shape(metadata: Mapping[str, Any], factor: int, source: str) -> tuple[int, int, int]:
    """Voxels of the volume that comes out, as configs/metadata.json states it.

    Args:
        factor: what each side must divide by.

    Raises:
        LdmError: it does not state three sides, or the networks cannot make them.
    """
    try:
        shape = metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"]
        x, y, z = (int(side) for side in shape)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise LdmError(
            f"{source}: {METADATA} does not state three sides at "
            "network_data_format, outputs, pred, spatial_shape"
        ) from None
    if any(side < 1 or side % factor for side in (x, y, z)):
        raise LdmError(
            f"{source}: {METADATA}: a volume of {x} x {y} x {z} voxels, expected sides that divide "
            f"by {factor}, the networks' factor"
        )
    return x, y, z


def _short(value: Any) -> str:
    """A value for a message; of a long one its beginning."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."


class _Section:
    """One component of a bundle's config, its fields checked as they are read."""

    def __init__(self, inference: Mapping[str, Any], name: str, source: str) -> None:
        self.where = f"{source}: {INFERENCE}: {name}"
        found = inference.get(name)
        if not isinstance(found, dict):
            raise LdmError(f"{self.where} is missing: this is no latent diffusion bundle")
        self.fields = found

    def expect(self, wanted: Mapping[str, tuple[Any, ...]]) -> None:
        """Raise unless each field has one of the values that are wanted of it."""
        for name, values in wanted.items():
            value = self._get(name)
            if value not in values:
                expected = " or ".join(json.dumps(v) for v in values if v is not None)
                raise LdmError(
                    f"{self.where}: {name} is {_short(value)}, expected {expected}: "
                    "this architecture is not the paper's"
                )

    def channels(self) -> list[Any]:
        return self.numbers("channels")

    def number(self, name: str) -> Any:
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise LdmError(f"{self.where}: {name} is {_short(value)}, expected a number")
        return value

    def numbers(self, name: str) -> list[Any]:
        value = self._get(name)
        plain = isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)
        if not plain:
            raise LdmError(f"{self.where}: {name} is {_short(value)}, expected a list")
        assert isinstance(value, list)
        return value

    def _get(self, name: str) -> Any:
        return self.fields.get(name, self.fields.get(_FORMERLY.get(name, name)))
