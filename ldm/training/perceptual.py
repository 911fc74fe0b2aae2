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
from ldm.training.distance import FeatureDistance, MonaiDistance, Perceptual, Placed
from ldm.training.features import FeatureConfig, FeatureNetwork

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


class MedicalNetFeatures(Placed):
    """The four stages of a MedicalNet ResNet (Chen et al. 2019), of z-scored volumes."""

    def __call__(self, volume: Tensor) -> list[Tensor]:
        net = self.on(volume)
        sides = tuple(range(1, volume.ndim))
        mean, std = volume.mean(sides, keepdim=True), volume.std(sides, keepdim=True)
        hidden = net.maxpool(net.act(net.bn1(net.conv1((volume - mean) / (std + 1e-6)))))
        found = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            hidden = stage(hidden)
            found.append(hidden)
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
    return FeatureDistance(MedicalNetFeatures(read_medicalnet(Path(source))))


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
            f"(pip install 'brainpress[perceptual]'): {_line(error)}; or {CHOICES}"
        ) from None
    except (OSError, RuntimeError) as error:  # urllib's and torch.hub's
        raise LdmError(
            f"--perceptual monai:{name}: its weights cannot be fetched ({_line(error)}); fetch "
            f"them once on a machine with the internet into {torch.hub.get_dir()}, or {CHOICES}",
            exit_code=1,
        ) from None
    return loss


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def write_features(folder: Path, network: FeatureNetwork, training: dict[str, Any]) -> None:
    """Write `features.safetensors`, then `features.json`, into a folder that is there."""
    from ldm.weights import weight_bytes

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
    from ldm.weights import load_weights

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


def read_medicalnet(path: Path, *, option: str = "--perceptual") -> nn.Module:
    """A MedicalNet ResNet-10 or -50 from its file of weights; no pickled code is run.

    Args:
        option: of the command line that named the file, for errors.

    Raises:
        LdmError: no such file, or other weights.
    """
    from monai.networks.nets import resnet10, resnet50

    instead = f"; {CHOICES}" if option == "--perceptual" else ""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved = saved.get("state_dict", saved)
        tensors = {name.removeprefix("module."): tensor for name, tensor in saved.items()}
    except FileNotFoundError:
        raise LdmError(f"{option} {path}: no such file{instead}") from None
    except Exception as error:  # torch.load has many
        raise LdmError(f"{option} {path}: not PyTorch weights ({_line(error)})") from None
    make = resnet50 if "layer1.0.conv3.weight" in tensors else resnet10
    network: nn.Module = make(
        pretrained=False,
        spatial_dims=3,
        n_input_channels=1,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    wanted = network.state_dict()
    kept = {name: tensors[name] for name in wanted if name in tensors}
    # Files written before PyTorch 0.4 count no batches.
    missing = [n for n in wanted if n not in kept and not n.endswith("num_batches_tracked")]
    try:
        network.load_state_dict({**wanted, **kept})
    except RuntimeError as error:
        missing.append(_line(error))
    if missing:
        raise LdmError(
            f"{option} {path}: not the weights of a MedicalNet resnet_10 or resnet_50 "
            f"({missing[0]} is missing or differs)"
        )
    return network
