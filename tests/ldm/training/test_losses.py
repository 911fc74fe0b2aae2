"""The perceptual and adversarial terms, against MONAI's and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch import Tensor, nn

from ldm.errors import LdmError
from ldm.training import adversarial
from ldm.training.adversarial import CriticWatch, PatchCritic, PatchCriticConfig
from ldm.training.autoencoder import AdversarialAutoencoderTask, AutoencoderTask
from ldm.training.distance import FeatureDistance, MonaiDistance
from ldm.training.perceptual import open_distance, source_digest
from tests.ldm.tiny_model import LATENT_SHAPE, PRESET, networks, volume_paths

CONFIG = replace(PRESET.train_autoencoder, kl_weight=0.1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def critic() -> PatchCritic:
    torch.manual_seed(1)
    return PatchCritic(PRESET.critic)


# ---------------------------------------------------------------------------------- adversarial


def test_the_adversarial_losses_are_monai_s_without_its_activation() -> None:
    monai = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    judge = critic()
    real, found = drawn(2, 1, 16, 16, 16), drawn(2, 1, 16, 16, 16, seed=1)
    judged = judge(found)
    assert float(judged.detach().min()) < 0, "where a LeakyReLU would differ"
    wanted = monai(judged, target_is_real=True, for_discriminator=False)
    torch.testing.assert_close(adversarial.generator_loss(judged), wanted)
    loss, parts = adversarial.critic_loss(judge, real, found)
    halves = [
        monai(judge(real), target_is_real=True, for_discriminator=True),
        monai(judge(found), target_is_real=False, for_discriminator=True),
    ]
    torch.testing.assert_close([parts["real"], parts["reconstructed"]], halves)
    torch.testing.assert_close(loss, (halves[0] + halves[1]) / 2)


def test_the_critic_judges_every_sample_alone() -> None:
    judge, volumes = critic(), drawn(3, 1, 16, 24, 16)
    torch.testing.assert_close(judge(volumes)[1:2], judge(volumes[1:2]))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_side_of_a_critic_is_the_smallest(layers: int) -> None:
    config = PatchCriticConfig(channels=2, layers=layers)
    judge, side = PatchCritic(config), config.smallest_side
    assert judge(drawn(1, 1, side, side, side)).shape == (1, 1, 1, 1, 1)
    with pytest.raises((RuntimeError, ValueError)):
        judge(drawn(1, 1, side // 2, side // 2, side // 2))


def test_a_grid_too_small_for_its_critic_is_refused() -> None:
    with pytest.raises(LdmError, match="too small for a critic of 3 layers; expected sides of"):
        replace(PRESET, critic=PatchCriticConfig(channels=4, layers=3))


# ------------------------------------------------------------------------------- the whole loss


def squared(found: Tensor, wanted: Tensor, keys: Tensor) -> Tensor:
    """A distance that can be had by hand."""
    return (found - wanted).pow(2).mean()


def test_the_loss_is_the_weighted_sum_of_its_terms(tmp_path: Path) -> None:
    config = replace(CONFIG, perceptual_weight=0.3, adversarial_weight=0.2, adversarial_from=5)
    judge = critic().requires_grad_(False)
    task = AdversarialAutoencoderTask(volume_paths(tmp_path), config, LATENT_SHAPE, judge, squared)
    network, _ = networks()
    samples = task.load(np.array([0, 1]), 5, range(2))
    loss, parts = task.loss(network, samples)
    found = network(samples["volume"], samples["noise"])[0]
    torch.testing.assert_close(parts["perceptual"], (found - samples["volume"]).pow(2).mean())
    torch.testing.assert_close(parts["adversarial"], (judge(found) - 1).pow(2).mean())
    wanted = parts["l1"] + 0.1 * parts["kl"] + 0.3 * parts["perceptual"]
    torch.testing.assert_close(loss, wanted + 0.2 * parts["adversarial"])
    torch.testing.assert_close(samples["reconstruction"], found)
    assert not samples["reconstruction"].requires_grad


def test_the_critic_takes_no_part_before_its_step(tmp_path: Path) -> None:
    config = replace(CONFIG, adversarial_weight=0.2, adversarial_from=5)
    task = AdversarialAutoencoderTask(volume_paths(tmp_path), config, LATENT_SHAPE, critic())
    assert [task.plays(step) for step in (0, 4, 5, 6)] == [False, False, True, True]
    network, _ = networks()
    _, parts = task.loss(network, task.load(np.array([0]), 4, range(1)))
    assert parts.keys() == {"l1", "kl"}


def test_the_adversarial_weight_rises_from_where_the_critic_begins(tmp_path: Path) -> None:
    config = replace(
        CONFIG, adversarial_weight=0.2, adversarial_from=5, adversarial_warmup=4, kl_weight=0.0
    )
    weights = [config.adversarial_weight_at(step) for step in (5, 6, 7, 8, 9, 100)]
    assert weights == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert replace(config, adversarial_warmup=0).adversarial_weight_at(5) == 0.2
    task = AdversarialAutoencoderTask(volume_paths(tmp_path), config, LATENT_SHAPE, critic())
    network, _ = networks()
    for step, weight in ((5, 0.05), (6, 0.1), (50, 0.2)):
        loss, parts = task.loss(network, task.load(np.array([0, 1]), step, range(2)))
        torch.testing.assert_close(loss, parts["l1"] + weight * parts["adversarial"])


def test_a_critic_that_wins_is_told_once_and_after_long() -> None:
    watch = CriticWatch()
    told = [watch.seen(0.25 if step < 300 else 0.001) for step in range(3_000)]
    (place,) = [step for step, line in enumerate(told) if line]
    assert 400 < place < 1_200
    line = told[place]
    assert line is not None
    assert line.startswith("the critic wins: its loss has been about 0.02 for 200 steps")
    assert "\n" not in line


@pytest.mark.parametrize("losses", [[0.25], [0.1], [0.001, 0.001, 0.2]])
def test_a_critic_that_plays_on_is_no_cause_for_alarm(losses: list[float]) -> None:
    watch = CriticWatch()
    assert not any(watch.seen(losses[step % len(losses)]) for step in range(2_000))
    assert not any(CriticWatch().seen(0.0) for _ in range(CriticWatch.STEPS - 1))


def test_a_perceptual_weight_without_a_network_is_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, perceptual_weight=0.3)
    with pytest.raises(LdmError, match=r"perceptual_weight 0\.3 with no network to compare in"):
        AutoencoderTask(volume_paths(tmp_path), config, LATENT_SHAPE)


# ------------------------------------------------------------------------------------ distances


def test_the_feature_distance_is_lpips_by_hand() -> None:
    """Directions at a right angle are 2 apart, opposite ones 4; lengths do not count."""

    def features(volume: Tensor) -> list[Tensor]:
        return [torch.cat([volume, 1 - volume], dim=1), volume[..., :1] * 7]

    one, other = torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    other[..., 1] = 0
    distance = FeatureDistance(features)
    assert float(distance(one, one)) == 0
    assert float(distance(other, one)) == pytest.approx((2 / 2 + 0) / 2, abs=1e-4)
    assert float(distance(-one, one)) == pytest.approx(
        (float((1 - (-1 / 5**0.5)) ** 2 + (2 / 5**0.5) ** 2) + 4) / 2, abs=1e-3
    )


def test_the_gradient_of_a_distance_reaches_what_was_found_alone() -> None:
    found, wanted = drawn(1, 1, 4, 4, 4).requires_grad_(), drawn(1, 1, 4, 4, 4, seed=1)
    wanted.requires_grad_()
    FeatureDistance(lambda volume: [torch.cat([volume, volume**2], 1)])(found, wanted).backward()
    assert wanted.grad is None
    assert found.grad is not None
    assert float(found.grad.abs().max()) > 0


class DrawnSlice(nn.Module):
    """Compares one slice, drawn as MONAI's PerceptualLoss draws its own."""

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        index = int(torch.randperm(found.shape[2])[0])
        return (found - wanted)[:, :, index].abs().mean()


def test_monai_s_slices_are_a_function_of_the_sample_s_key() -> None:
    distance = MonaiDistance(DrawnSlice())
    found, wanted = drawn(3, 1, 9, 4, 4), drawn(3, 1, 9, 4, 4, seed=1)
    keys = torch.tensor([11, 22, 33])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = distance(found, wanted, keys)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    alone = [distance(found[i : i + 1], wanted[i : i + 1], keys[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(alone).mean())
    assert distance(found, wanted, keys + 1) != whole


# ------------------------------------------------------------------------ where networks are from


def test_medicalnet_weights_from_a_file_measure_a_distance(tmp_path: Path) -> None:
    from monai.networks.nets import resnet10

    torch.manual_seed(0)
    network = resnet10(
        spatial_dims=3,
        n_input_channels=1,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    path = tmp_path / "resnet_10_23dataset.pth"
    saved = {
        f"module.{name}": tensor
        for name, tensor in network.state_dict().items()
        if "num_batches" not in name  # as in files of before PyTorch 0.4
    }
    torch.save({"state_dict": saved}, path)
    distance = open_distance(str(path))
    one, keys = drawn(1, 1, 16, 16, 16), torch.zeros(1)
    assert float(distance(one, one, keys)) == 0
    assert float(distance(one, 0.5 * one + 0.2, keys)) == pytest.approx(0, abs=1e-3), "z-scored"
    assert float(distance(one, drawn(1, 1, 16, 16, 16, seed=1), keys)) > 0.01
    assert len(source_digest(str(path))) == 64
    saved.pop("module.layer3.0.conv1.weight")
    torch.save(saved, path)
    with pytest.raises(LdmError, match=r"not the weights of a MedicalNet .*layer3\.0\.conv1"):
        open_distance(str(path))


@pytest.mark.parametrize("name", ["absent.pth", "garbage.pth", "empty"])
def test_what_is_no_network_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "garbage.pth").write_bytes(b"no weights")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LdmError) as caught:
        open_distance(str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_fetched_names_the_other_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load", offline)
    with pytest.raises(LdmError, match="its weights cannot be fetched") as caught:
        open_distance("monai:medicalnet_resnet10_23datasets")
    for word in ("Name or service not known", "--perceptual cohort", "a path", "off"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(LdmError, match=r"monai:nothing: .*Must be one in: alex"):
        open_distance("monai:nothing")
