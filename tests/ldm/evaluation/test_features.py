"""Features of others' networks: read from the files that their authors give, and what they see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import resnet50
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.evaluation.features import RadImageNet
from ldm.networks.radimagenet import read_radimagenet

CHILDREN = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}


def weights() -> dict[str, Tensor]:
    """A ResNet-50 with chance in its normalisations too, under torchvision's names."""
    torch.manual_seed(0)
    network = resnet50(
        spatial_dims=2,
        n_input_channels=3,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights under torchvision's names, and numbered as the authors' file has them."""
    folder, tensors = tmp_path_factory.mktemp("weights"), weights()
    numbered = {}
    for name, tensor in tensors.items():
        child, _, rest = name.partition(".")
        numbered[f"module.backbone.{CHILDREN[child]}.{rest}"] = tensor
    found = {"torchvision": tensors, "authors": numbered, "cut": dict(list(tensors.items())[:40])}
    for name, saved in found.items():
        torch.save(saved, folder / f"{name}.pt")
    return {name: folder / f"{name}.pt" for name in found}


def test_both_ways_of_naming_give_one_network(files: dict[str, Path]) -> None:
    slices = torch.rand(2, 3, 40, 48)
    found = [
        read_radimagenet(files[name], option="--radimagenet")(slices)
        for name in ("torchvision", "authors")
    ]
    assert found[0].shape == (2, 2048)
    assert torch.equal(*found)


def test_the_first_convolution_halves_the_slice_as_torchvision_s_does(
    files: dict[str, Path],
) -> None:
    network = read_radimagenet(files["authors"], option="--radimagenet")
    assert network.conv1.stride == (2, 2)  # type: ignore[union-attr]
    assert [layer[0].conv2.stride for layer in (network.layer1, network.layer2)] == [(1, 1), (2, 2)]  # type: ignore[union-attr, index]


def test_features_are_a_function_of_the_volume_alone_and_tell_two_apart(
    files: dict[str, Path],
) -> None:
    network = RadImageNet(files["authors"])
    volumes = np.random.default_rng(0).random((2, 24, 30, 20), dtype=np.float32)
    volumes[1, 8:16] *= 0.2
    both = network.features(volumes)
    assert both.shape == (2, 2048)
    np.testing.assert_array_equal(network.features(volumes[1:])[0], both[1])
    assert np.abs(both[0] - both[1]).max() > 1e-4


def test_sixteen_slices_of_each_plane_are_looked_at_as_in_training(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, seen = RadImageNet(files["authors"]), []

    def see(slices: Tensor) -> Tensor:
        seen.append(slices)
        return torch.ones(len(slices), 2048)

    monkeypatch.setattr(network, "_network", see)
    volume = np.random.default_rng(1).random((24, 30, 20), dtype=np.float32)
    assert network.features(volume[None]).tolist() == [[1.0] * 2048]
    assert [tuple(s.shape) for s in seen] == [(16, 3, 30, 20), (16, 3, 24, 20), (16, 3, 24, 30)]
    np.testing.assert_allclose(seen[0][0, 0], 2 * volume[3] - 1, rtol=1e-6)
    np.testing.assert_allclose(seen[2][-1, 2], 2 * volume[:, :, 16] - 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["cut", "garbage", "absent"])
def test_other_weights_are_one_line(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    (tmp_path / "garbage.pt").write_bytes(b"no weights")
    path = files.get(name, tmp_path / f"{name}.pt")
    with pytest.raises(LdmError, match=r"^--radimagenet .*(not the weights|not PyTorch|no such)"):
        read_radimagenet(path, option="--radimagenet")
