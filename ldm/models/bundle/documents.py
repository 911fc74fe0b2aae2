"""The documents of an exported bundle: metadata, the runnable config, and its README."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ldm.covariates import Covariate, CovariateSchema
from ldm.errors import LdmError
from ldm.models.bundle.configs import MARK
from ldm.models.description import ModelDescription
from ldm.untrusted import markdown
from ldm.volumes.grid import MNI

SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
VERSION = "1.0.0"


def check_inert(document: Any, where: str) -> None:
    """Raise unless no text in `document` is one that MONAI would run, look up or build.

    MONAI evaluates a text that begins with "$", replaces one that begins with "@" or "%", and calls
    the "_target_" of an object; what comes from a model's own file must be none of these.

    Raises:
        LdmError: the first that is.
    """
    if isinstance(document, str) and document.lstrip()[:1] in ("$", "@", "%"):
        raise LdmError(
            f"{where}: {document[:60]!a} begins with a sign that MONAI would act upon; change it "
            "in the model's files"
        )
    if isinstance(document, Mapping):
        for name, value in document.items():
            if str(name).startswith("_"):
                raise LdmError(f"{where}: the field {name!a:.60} is one that MONAI would act upon")
            check_inert(value, f"{where}: {name}")
    elif isinstance(document, (list, tuple)):
        for value in document:
            check_inert(value, where)


def inference_config(
    description: ModelDescription, latent_shape: tuple[int, int, int, int]
) -> dict[str, Any]:
    """configs/inference.json: `python -m monai.bundle run` draws one volume with it."""
    autoencoder, denoiser = description.autoencoder, description.denoiser
    check_inert(description.to_json(), description.name)
    local = {"branch": branch_def(denoiser), "refiner": refiner_def(autoencoder)}
    local = {name: definition for name, definition in local.items() if definition}
    calls = {"refiner_steps": autoencoder["refiner"]["steps"]} if "refiner" in local else {}
    loading = {
        "load_autoencoder": _loading("@autoencoder_def", "autoencoder.pt"),
        "load_network": _loading("@network_def", "model.pt"),
    }
    loading |= {f"load_{name}": _loading(f"@{name}_def", f"{name}.pt") for name in local}
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "",
        "dataset": "",
        "evaluator": "",
        "model_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/output'",
        "output_name": "$'sample_%d_%06d.nii.gz' % (@seed, @index)",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "seed": 0,
        "index": 0,
        "attempt": 0,
        "steps": 50,
        "covariates": middle(description.schema),
        "autoencoder_def": autoencoder_def(autoencoder),
        "network_def": network_def(denoiser),
        **{f"{name}_def": definition for name, definition in local.items()},
        **loading,
        "inferer": {
            "_target_": "scripts.sampler.Sampler",
            "_requires_": [f"@{name}" for name in loading],
            "autoencoder": "@autoencoder_def",
            "denoiser": "@network_def",
            **{name: f"@{name}_def" for name in local},
            **calls,
            "covariates": description.schema.to_json()["covariates"],
            "schedule": description.schedule,
            "latent_shape": list(latent_shape),
            "affine": description.grid.affine.tolist(),
            "latent_mean": list(description.latent_mean),
            "latent_std": list(description.latent_std),
            "calibration": description.calibration.to_json(),
            "condition_mean": list(denoiser.get("condition_mean", ())),
            "condition_std": list(denoiser.get("condition_std", ())),
            "autoencoder_patch": autoencoder.get("patch", 1),
            "denoiser_patch": denoiser.get("patch", 1),
            "mirrored": autoencoder.get("mirrored", False),
            **_code(description),
            "device": "@device",
        },
        "run": [
            "$@inferer.save(@output_dir + '/' + @output_name, @covariates, "
            "(@seed, @index, @attempt), steps=@steps)"
        ],
    }


def refiner_def(autoencoder: Mapping[str, Any]) -> dict[str, Any]:
    """The refiner, of the file that is exported beside the sampler; empty where there is none."""
    if not (config := autoencoder.get("refiner")):
        return {}
    return {
        "_target_": "scripts.refiner.Refiner",
        "latent_channels": autoencoder["latent_channels"],
        "channels": list(config["channels"]),
        "num_res_blocks": config["num_res_blocks"],
        "norm_num_groups": config["norm_num_groups"],
    }


def branch_def(denoiser: Mapping[str, Any]) -> dict[str, Any]:
    """The U-Net's branch, of the same file; empty where there is none."""
    if not denoiser.get("branch_channels"):
        return {}
    return {
        "_target_": "scripts.refiner.Branch",
        "latent_channels": denoiser["latent_channels"],
        "channels": denoiser["branch_channels"],
        "blocks": denoiser["branch_blocks"],
        "norm_num_groups": denoiser["norm_num_groups"],
    }


def autoencoder_def(config: Mapping[str, Any]) -> dict[str, Any]:
    """MONAI's autoencoder, as `ldm.networks.autoencoder.Autoencoder` builds it."""
    cells = config.get("patch", 1) ** 3
    return {
        "_target_": "monai.networks.nets.AutoencoderKL",
        "spatial_dims": 3,
        "in_channels": cells,
        "out_channels": cells,
        "latent_channels": config["latent_channels"],
        "channels": list(config["channels"]),
        "num_res_blocks": config["num_res_blocks"],
        "norm_num_groups": config["norm_num_groups"],
        "norm_eps": 1e-06,
        "attention_levels": [False] * len(config["channels"]),
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }


def network_def(config: Mapping[str, Any]) -> dict[str, Any]:
    """MONAI's U-Net, as `ldm.networks.denoiser.Denoiser` builds it."""
    cells = config["latent_channels"] * config.get("patch", 1) ** 3
    return {
        "_target_": "monai.networks.nets.DiffusionModelUNet",
        "spatial_dims": 3,
        "in_channels": cells + config["conditions"],
        "out_channels": cells,
        "channels": list(config["channels"]),
        "num_res_blocks": config["num_res_blocks"],
        "attention_levels": list(config["attention_levels"]),
        "norm_num_groups": config["norm_num_groups"],
        "norm_eps": 1e-06,
        "resblock_updown": True,
        "num_head_channels": list(config["head_channels"]),
        "with_conditioning": True,
        "transformer_num_layers": 1,
        "cross_attention_dim": config["conditions"],
        "upcast_attention": True,
    }


def metadata(
    description: ModelDescription,
    latent_shape: tuple[int, int, int, int],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """configs/metadata.json, with the fields that MONAI's bundle specification asks for."""
    card, schema = description.card, description.schema
    shape = list(description.grid.shape)
    license_ = card.get("license", "not stated")
    return {
        "schema": SCHEMA_URL,
        "version": VERSION,
        "changelog": {VERSION: f"exported by brainpress {versions['brainpress']}"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["pytorch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {"nibabel": versions["nibabel"]},
        "name": str(card.get("name", description.name)),
        "task": "Brain image synthesis",
        "description": str(card.get("description") or card.get("name", description.name)),
        "authors": str(card.get("attribution", "not stated")),
        "copyright": f"The weights: {license_}. {card.get('attribution', '')}".strip(),
        "data_type": "nibabel",
        "image_classes": f"{' or '.join(description.suffixes)} MRI, "
        f"{description.grid.spacing:g} mm, {description.grid.space_text}, intensities 0..1",
        "intended_use": "Research, not to be used clinically"
        + ("; a demonstration" if card.get("demo") else ""),
        "references": [
            "Pinaya, W. H. L., et al. Brain Imaging Generation with Latent Diffusion Models. "
            "DGM4MICCAI 2022, arXiv 2209.07162"
        ],
        "network_data_format": {
            "inputs": {
                "covariates": {
                    "type": "tabular",
                    "format": "sequence",
                    "num_channels": len(schema.inputs),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {
                        str(i): meaning
                        for i, meaning in enumerate(
                            m for c in schema.covariates for m in _meanings(c)
                        )
                    },
                },
                "latent": {
                    "type": "image",
                    "format": "latent",
                    "num_channels": latent_shape[0],
                    "spatial_shape": list(latent_shape[1:]),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(i): "latent" for i in range(latent_shape[0])},
                },
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": " or ".join(description.suffixes)},
                }
            },
        },
        MARK: {"version": versions["brainpress"], "model_fingerprint": description.fingerprint},
    }


def readme(description: ModelDescription, name: str) -> str:
    """docs/README.md."""
    card = description.card
    values = middle(description.schema)
    first = next(iter(values), None)
    chosen = f" --covariates#{first} {shlex.quote(str(values[first]))}" if first else ""
    side = " x ".join(map(str, description.grid.shape))
    lines = [
        f"# {markdown(card.get('name', description.name))}",
        "",
        markdown(card.get("description", "")),
        "",
        *(["**A demonstration**: not for research conclusions.", ""] if card.get("demo") else []),
        f"{' and '.join(description.suffixes)} volumes of {side} voxels, "
        f"{description.grid.spacing:g} mm, {_placed(description)}.",
        f"Licence of the weights: {markdown(card.get('license', 'not stated'))}. "
        f"Attribution: {markdown(card.get('attribution', 'none'))}",
        "",
        "## To draw a volume",
        "",
        "```shell",
        'pip install "monai[fire,nibabel,einops]"',
        f"cd {shlex.quote(name)}",
        f"python -m monai.bundle run --config_file configs/inference.json --seed 7{chosen}",
        "```",
        "",
        "It is written to output/. `--seed`, `--index` and `--attempt` are the key of the noise, "
        "`--steps` the number of DDIM steps, `--covariates#NAME` a covariate:",
        "",
        "| name | unit | trained on | meaning |",
        "|---|---|---|---|",
    ]
    for c in description.schema.covariates:
        levels = ", ".join(map(markdown, c.levels))
        extent = f"{c.minimum:g} to {c.maximum:g}" if c.is_continuous else levels
        lines.append(f"| {c.name} | {markdown(c.unit)} | {extent} | {markdown(c.description)} |")
    lines += [
        "",
        "The same seed, index, attempt, covariates and steps give the volume that `brainpress "
        "generate --sampler ddim --guidance 1 --precision fp32` gives: to the bit on the same kind "
        "of machine, one thread and a batch of one, and to rounding elsewhere.",
        "",
    ]
    return "\n".join(lines)


def middle(schema: CovariateSchema) -> dict[str, Any]:
    """A value for every covariate: the middle of its range, or its first level."""
    return {
        c.name: c.round((c.minimum + c.maximum) / 2) if c.is_continuous else c.levels[0]
        for c in schema.covariates
    }


def _code(description: ModelDescription) -> dict[str, str]:
    """What the sampler's headers say of their coordinates; no word of MNI space, its default."""
    grid = description.grid
    return {} if grid.space == MNI else {"space": grid.nifti_code}


def _placed(description: ModelDescription) -> str:
    grid = description.grid
    return f"in {grid.space_text}" if grid.space == MNI else grid.space_text


def _meanings(covariate: Covariate) -> list[str]:
    """What each input of the network means that a covariate has."""
    unit = f", {covariate.unit}" if covariate.unit else ""
    if covariate.is_one_hot:
        return [f"{covariate.name}: 1 where it is {level}, else 0" for level in covariate.levels]
    if not covariate.is_continuous:
        return [f"{covariate.name}: {', '.join(covariate.levels)}, evenly over 0..1"]
    return [f"{covariate.name}{unit}: {covariate.minimum:g}..{covariate.maximum:g} as 0..1"]


def _loading(network: str, file: str) -> str:
    return (
        f"${network}.load_state_dict(torch.load(@model_dir + '/{file}', map_location='cpu', "
        "weights_only=True))"
    )
