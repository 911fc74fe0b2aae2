"""Any latent diffusion model as a MONAI bundle that runs without brainpress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.folders import replace_folder, side_folder
from ldm.models.base import LoadedModel
from ldm.models.bundle.configs import MARK
from ldm.models.bundle.documents import inference_config, metadata, readme
from ldm.models.bundle.layout import AUTOENCODER, BRANCH, DENOISER, INFERENCE, METADATA, REFINER
from ldm.models.description import ModelDescription

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).resolve().parents[3]


def export_bundle(model: LoadedModel, source: str, folder: Path) -> None:
    """Write a loaded model as a MONAI bundle, whole or not at all.

    Args:
        model: on the CPU, in float32.
        source: what it was loaded from, for errors.
        folder: a new or empty folder, or a bundle exported before, which is replaced.

    Raises:
        LdmError: no latent diffusion model, or the folder holds something else.
    """
    refuse_other(folder)
    from ldm.models.latent_diffusion import Model

    if not isinstance(model, Model):
        raise LdmError(
            f"{source} is a model of another kind: a bundle is made of an autoencoder and a "
            "diffusion model"
        )
    folder = folder.absolute()
    side = side_folder(folder)
    try:
        _write(side, model, folder.name)
        replace_folder(side, folder)
    finally:
        shutil.rmtree(side, ignore_errors=True)


def refuse_other(folder: Path) -> None:
    """Refuse to write over anything but a bundle that was exported before.

    Raises:
        LdmError: the folder is a file, or holds something else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise LdmError(f"{folder} is a file; expected a folder for the bundle")
    if any(folder.iterdir()) and not is_exported(folder):
        raise LdmError(
            f"{folder} holds something else than a bundle that brainpress exported; give a new "
            "folder"
        )


def is_exported(folder: Path) -> bool:
    """Whether the folder is a bundle that `export_bundle` wrote."""
    try:
        return MARK in json.loads((folder / METADATA).read_text())
    except (OSError, ValueError, TypeError):
        return False


def _write(folder: Path, model: Any, name: str) -> None:
    import torch

    from ldm.networks import refiner

    description = model.description
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir()
    documents = {
        METADATA: metadata(description, model.latent_shape, _versions()),
        INFERENCE: inference_config(description, model.latent_shape),
    }
    for path, document in documents.items():
        text = json.dumps(document, indent=4, ensure_ascii=False)
        (folder / path).write_text(text + "\n")
    networks = {AUTOENCODER: model.autoencoder.net, DENOISER: model.denoiser.net}
    scripts = list(SCRIPTS.glob("*.py"))
    if model.autoencoder.config.refiner.channels:
        networks[REFINER] = model.autoencoder.refiner
    if model.denoiser.branch is not None:
        networks[BRANCH] = model.denoiser.branch
    if networks.keys() & {REFINER, BRANCH}:
        scripts.append(Path(refiner.__file__))
    for path, network in networks.items():
        torch.save(_plain(network.state_dict().items()), folder / path)
    (folder / "scripts").mkdir()
    for script in scripts:
        shutil.copyfile(script, folder / "scripts" / script.name)
    (folder / "docs" / "README.md").write_text(readme(description, name))
    (folder / "LICENSE").write_text(_licence(description))


def _plain(state: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Tensors laid out as PyTorch makes them, whatever layout is quick here."""
    import torch

    return {k: v.contiguous(memory_format=torch.contiguous_format) for k, v in state}


def _versions() -> dict[str, str]:
    """What the bundle was made and tried with."""
    import monai
    import nibabel
    import numpy
    import torch

    packages = {"monai": monai, "pytorch": torch, "numpy": numpy, "nibabel": nibabel}
    found = {n: str(package.__version__).split("+")[0] for n, package in packages.items()}
    try:
        return found | {"brainpress": version("brainpress")}
    except PackageNotFoundError:
        return found | {"brainpress": "not installed"}


def _licence(description: ModelDescription) -> str:
    """The weights' licence by name, and that of the scripts in full."""
    card = description.card
    weights = (
        f"The weights in models/: {card.get('license', 'not stated')}.\n"
        f"Attribution: {card.get('attribution', 'none')}\n"
    )
    return (
        f"{weights}\nThe scripts and configs are a part of brainpress and under the licence "
        f"below.\n\n{_own_licence()}"
    )


def _own_licence() -> str:
    """The text of brainpress's licence: of the checkout, or of the installed distribution."""
    if (ROOT / "LICENSE").is_file():
        return (ROOT / "LICENSE").read_text()
    try:
        text = distribution("brainpress").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    return text or "Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
