"""MedicalNet ResNets (Chen et al. 2019): read from their files of weights, as features."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ldm.networks.layout import Placed
from ldm.networks.resnets import fill, tensors_of


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

    tensors = tensors_of(path, option=option, instead=instead)
    make = resnet50 if "layer1.0.conv3.weight" in tensors else resnet10
    network: nn.Module = make(
        pretrained=False,
        spatial_dims=3,
        n_input_channels=1,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    wrong = f"{option} {path}: not the weights of a MedicalNet resnet_10 or resnet_50"
    fill(network, tensors, wrong=wrong)
    return network
