"""Where the networks of the perceptual loss come from: MONAI, a file, or a run of our own."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks.layout import Placed
from ldm.networks.medicalnet import MedicalNetFeatures, read_medicalnet
from ldm.training.distance import FeatureDistance, MonaiDistance, Perceptual
from ldm.training.features import FeatureConfig, FeatureNetwork
from ldm.untrusted import first_line

CONFIG, WEIGHTS = "features.json", "features.safetensors"
MONAI, COHORT, OFF = "monai", "cohort", "off"
# What the paper's author used: SqueezeNet on a quarter of the slices along each axis.
MONAI_NETWORK, SLICES = "squeeze", 0.25
CHOICES = (
    "give --perceptual cohort (features trained on the cohort), a path (the perceptual/ folder of "
    "a run, or MedicalNet weights), monai (downloads), or off"
)


class CohortFeatures(Placed):
    """The levels of a `FeatureNetwork`."""

    def __call__(self, volume: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.on(volume).features(volume)
        return found


def open_distance(source: str) -> Perceptual:
    """The distance that `--perceptual` names, other than `cohort` and `off`.

    Args:
        source: "monai", "monai:NAME" (a network of MONAI's `PerceptualLoss`), the `perceptual/`
            folder of a run, or a file of MedicalNet weights (`resnet_10_23dataset.pth`).

    Raises:
        LdmError: nothing there, of another kind, or nobody answers.
    """
    if source.split(":")[0] == MONAI:
        return MonaiDistance(_fetched(source.partition(":")[2] or MONAI_NETWORK))
    if Path(source).is_dir():
        return FeatureDistance(CohortFeatures(read_features(Path(source))))
    return FeatureDistance(
        MedicalNetFeatures(read_medicalnet(Path(source), option="--perceptual", instead=CHOICES))
    )


def source_digest(source: str) -> str:
    """What names the network in a run's identity: MONAI's name, or the weights' sha256.

    Raises:
        LdmError: nothing there.
    """
    if source.split(":")[0] == MONAI:
        return f"{MONAI}:{source.partition(':')[2] or MONAI_NETWORK}"
    path = Path(source)
    try:
        data = ((path / WEIGHTS) if path.is_dir() else path).read_bytes()
    except OSError as error:
        raise LdmError(
            f"--perceptual {source}: no weights there ({error.strerror}); {CHOICES}"
        ) from None
    return hashlib.sha256(data).hexdigest()


def _fetched(name: str) -> nn.Module:
    import warnings

    try:
        from monai.losses import PerceptualLoss

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            slices = not name.startswith("medicalnet")
            loss: nn.Module = PerceptualLoss(
                spatial_dims=3, network_type=name, is_fake_3d=slices, fake_3d_ratio=SLICES
            )
    except ValueError as error:
        raise LdmError(f"--perceptual monai:{name}: {error}; {CHOICES}") from None
    except ImportError as error:  # MONAI's OptionalImportError too: LPIPS, torchvision
        raise LdmError(
            f"--perceptual monai:{name} needs lpips and torchvision "
            f"(pip install '.[perceptual]' in a checkout of brainpress): {first_line(error)};"
            f" or {CHOICES}"
        ) from None
    except (OSError, RuntimeError) as error:  # urllib's and torch.hub's
        raise LdmError(
            f"--perceptual monai:{name}: its weights cannot be fetched ({first_line(error)}); "
            f"fetch them once on a machine with the internet into {torch.hub.get_dir()}, "
            f"or {CHOICES}",
            exit_code=1,
        ) from None
    return loss


def write_features(folder: Path, network: FeatureNetwork, training: dict[str, Any]) -> None:
    """Write `features.safetensors`, then `features.json`, into a folder that is there."""
    from ldm.networks.weights import weight_bytes

    data = weight_bytes(network, torch.float32)
    document = {
        "format": "brainpress-features",
        "version": 1,
        "config": network.config.to_json(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "training": training,
    }
    for name, content in ((WEIGHTS, data), (CONFIG, json.dumps(document, indent=1).encode())):
        side = folder / f".{name}"
        side.write_bytes(content)
        os.replace(side, folder / name)


def read_features(folder: Path) -> FeatureNetwork:
    """The feature network that a run left in its `perceptual/`.

    Raises:
        LdmError: none there, or its weights are damaged.
    """
    from ldm.networks.weights import load_weights

    try:
        document = json.loads((folder / CONFIG).read_text())
        network = FeatureNetwork(FeatureConfig.from_json(document["config"]))
        data = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise LdmError(f"{folder} holds no trained features (no {CONFIG}); {CHOICES}") from None
    if hashlib.sha256(data).hexdigest() != document["sha256"]:
        raise LdmError(f"{folder / WEIGHTS} is damaged; copy it again, or {CHOICES}")
    load_weights(network, data, str(folder / WEIGHTS))
    return network
