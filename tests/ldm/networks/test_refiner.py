"""The refiner: nothing at first, what its statistics say, and of which shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ldm.errors import LdmError
from ldm.networks import Autoencoder, AutoencoderConfig, RefinerConfig
from ldm.networks.refiner import Refiner
from ldm.training.decoder import with_refiner
from ldm.training.presets import preset

CONFIG = RefinerConfig(channels=(8, 16), num_res_blocks=1, norm_num_groups=4)


def refiner(seed: int = 0) -> Refiner:
    torch.manual_seed(seed)
    made = Refiner(latent_channels=2, channels=(8, 16), num_res_blocks=1, norm_num_groups=4)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def test_an_untrained_one_changes_nothing() -> None:
    made = Refiner(latent_channels=2, channels=(8, 16), num_res_blocks=1, norm_num_groups=4)
    latent = torch.randn(2, 2, 4, 6, 4)
    torch.testing.assert_close(made(latent), latent)


def test_it_works_in_the_scale_that_it_was_told() -> None:
    latent, told = torch.randn(1, 2, 4, 6, 4), refiner()
    plain = refiner()
    told.standardise((1.0, -2.0), (3.0, 0.5))
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.5])
    shape = (1, 2, 1, 1, 1)
    wanted = plain((latent - mean.view(shape)) / std.view(shape)) * std.view(shape)
    torch.testing.assert_close(told(latent), wanted + mean.view(shape))
    plain.load_state_dict(told.state_dict())  # the scale goes with the weights
    torch.testing.assert_close(plain(latent), told(latent))


def test_an_autoencoder_with_one_decodes_as_before_until_it_is_trained() -> None:
    autoencoder = Autoencoder(preset("tiny").autoencoder).eval()
    refined = with_refiner(autoencoder, CONFIG, (0.2, -0.1), (1.5, 0.7)).eval()
    latent = torch.randn(1, 2, 4, 6, 4)
    torch.testing.assert_close(refined.decode(latent), autoencoder.decode(latent))
    assert with_refiner(refined, CONFIG, (0.0, 0.0), (1.0, 1.0)) is refined
    assert with_refiner(autoencoder, RefinerConfig(), (0.2, -0.1), (1.5, 0.7)) is autoencoder


def test_a_config_tells_of_one_only_where_there_is_one() -> None:
    plain = preset("tiny").autoencoder
    assert "refiner" not in plain.to_json()
    refined = replace(plain, refiner=CONFIG)
    assert AutoencoderConfig.from_json(refined.to_json()) == refined
    assert AutoencoderConfig.from_json(plain.to_json()) == plain


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"channels": (8,)}, r"refiner channels \(8,\): expected two widths"),
        ({"channels": (8, 10), "norm_num_groups": 4}, "each must divide by norm_num_groups 4"),
        ({"channels": (8, 0)}, "refiner channels 0: expected a whole number 1 to"),
        ({"num_res_blocks": 0}, "refiner num_res_blocks 0: expected a whole number 1 to"),
    ],
)
def test_a_config_that_does_not_work_is_told(fields: dict[str, object], line: str) -> None:
    with pytest.raises(LdmError, match=line):
        RefinerConfig(**fields)  # type: ignore[arg-type]
