"""MedicalNet ResNets (Chen et al. 2019): read from their files of weights, as features."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.networks.layout import Placed
from ldm.untrusted import first_line


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


def read_medicalnet(path: Path, *, option: str, instead: str = "") -> nn.Module:
    """A MedicalNet ResNet-10 or -50 from its file of weights; no pickled code is run.

    Args:
        option: of the command line that named the file, for errors.
        instead: what else may be given, the words that end them.

    Raises:
        LdmError: no such file, or other weights.
    """
    from monai.networks.nets import resnet10, resnet50

    told = f"; {instead}" if instead else ""

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved = saved.get("state_dict", saved)
        tensors = {name.removeprefix("module."): tensor for name, tensor in saved.items()}
    except FileNotFoundError:
        raise LdmError(f"{option} {path}: no such file{told}") from None
    except Exception as error:  # torch.load has many
        raise LdmError(f"{option} {path}: not PyTorch weights ({first_line(error)})") from None
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
        missing.append(first_line(error))
    if missing:
        raise LdmError(
            f"{option} {path}: not the weights of a MedicalNet resnet_10 or resnet_50 "
            f"({missing[0]} is missing or differs)"
        )
    return network
