"""RadImageNet's ResNet-50 (Mei et al. 2022): read from its file, for features of slices."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ldm.networks.resnets import fill, tensors_of

# The authors' file numbers the children of torchvision's ResNet-50 in an nn.Sequential.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def read_radimagenet(path: Path, *, option: str) -> nn.Module:
    """The ResNet-50 in a file of weights, as the authors save it (`backbone.0.weight` ...) or under
    torchvision's names; no pickled code is run.

    Args:
        option: of the command line that named the file, for errors.

    Returns:
        A network of slices (B, 3, x, y) to (B, 2048).

    Raises:
        LdmError: no such file, or other weights.
    """
    from monai.networks.nets import resnet50

    saved = tensors_of(path, option=option)
    tensors = {_name(name): tensor for name, tensor in saved.items()}
    network: nn.Module = resnet50(
        pretrained=False,
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    wrong = f"{option} {path}: not the weights of RadImageNet's ResNet50 in PyTorch"
    fill(network, tensors, wrong=wrong)
    return network.eval().requires_grad_(False)


def _name(name: str) -> str:
    """Torchvision's name of a tensor."""
    name = name.removeprefix("backbone.")
    child, _, rest = name.partition(".")
    return f"{_CHILDREN[child]}.{rest}" if child in _CHILDREN else name
