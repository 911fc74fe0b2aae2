"""The refiner: Haar cells, nothing at first, what its statistics say, and of which shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm.errors import LdmError
from ldm.networks import Autoencoder, AutoencoderConfig, RefinerConfig
from ldm.networks.autoencoder import with_refiner
from ldm.networks.refiner import Refiner, from_cells, noise_shape, to_cells
from ldm.training.decoder import new_refiner
from ldm.training.presets import preset

CONFIG = RefinerConfig(channels=(8, 16), num_res_blocks=1, norm_num_groups=4, steps=3)
SHAPE, LATENT = (16, 24, 16), (4, 6, 4)


def refiner(*, trained: bool = True) -> Refiner:
    torch.manual_seed(0)
    made = Refiner(latent_channels=2, channels=(8, 16), num_res_blocks=1, norm_num_groups=4)
    for parameter in made.parameters() if trained else ():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 99))
def test_haar_cells_keep_power_and_come_back(sides: tuple[int, int, int], seed: int) -> None:
    shape = (2, 1, *(2 * side for side in sides))
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    cells = to_cells(volume)
    assert tuple(cells.shape[1:]) == noise_shape(shape[2:])
    torch.testing.assert_close(cells.pow(2).sum(), volume.pow(2).sum())
    torch.testing.assert_close(from_cells(cells), volume)
    torch.testing.assert_close(
        cells[:, 0], torch.nn.functional.avg_pool3d(volume, 2)[:, 0] * 8**0.5
    )


def test_a_step_along_one_axis_lies_in_one_band() -> None:
    for axis, band in ((2, 4), (3, 2), (4, 1)):
        volume = torch.zeros(1, 1, 4, 4, 4)
        volume.index_fill_(axis, torch.tensor([0, 2]), 1.0)
        cells = to_cells(volume)
        seen = {place for place in range(8) if bool((cells[0, place] != 0).any())}
        assert seen == {0, band}


def test_an_untrained_one_takes_its_noise_for_the_rest() -> None:
    volume, latent = torch.rand(1, 1, *SHAPE), torch.randn(1, 2, *LATENT)
    drawn = torch.randn(1, *noise_shape(SHAPE))
    found = refiner(trained=False).refine(volume, latent, drawn, steps=3)
    torch.testing.assert_close(found, volume + from_cells(drawn))


def test_it_works_in_the_units_that_it_was_told_and_they_go_with_its_weights() -> None:
    volume, latent = torch.rand(1, 1, *SHAPE), torch.randn(1, 2, *LATENT)
    drawn, told, plain = torch.randn(1, *noise_shape(SHAPE)), refiner(), refiner()
    told.standardise(
        rest_std=[0.1] * 8, blurred_std=[2.0] * 8, latent_mean=(1.0, -2.0), latent_std=(3.0, 0.5)
    )
    mean, std = (torch.tensor(v).view(1, 2, 1, 1, 1) for v in ((1.0, -2.0), (3.0, 0.5)))
    found = told.refine(volume, latent, drawn, steps=2)
    rest = plain.refine(volume / 2, (latent - mean) / std, drawn, steps=2) - volume / 2
    torch.testing.assert_close(found, volume + 0.1 * rest, atol=1e-5, rtol=1e-4)
    plain.load_state_dict(told.state_dict())
    torch.testing.assert_close(plain.refine(volume, latent, drawn, steps=2), found)


def test_the_true_velocity_ends_at_the_true_volume() -> None:
    """Every step is exact on a straight path."""
    volume, blurred, latent = torch.rand(1, 1, *SHAPE), torch.rand(1, 1, *SHAPE), torch.zeros(1)
    drawn = torch.randn(1, *noise_shape(SHAPE))
    rest = to_cells(volume - blurred)
    latent = torch.randn(1, 2, *LATENT)
    found = refiner().refine(blurred, latent, drawn, 4, lambda *_: drawn - rest)
    torch.testing.assert_close(found, volume)


def test_twice_the_calls_bring_it_four_times_as_near_on_a_bent_path() -> None:
    """The steps are of the second order: Euler's would come twice as near."""
    blurred, latent = torch.zeros(1, 1, *SHAPE), torch.randn(1, 2, *LATENT)
    drawn = torch.randn(1, *noise_shape(SHAPE))

    def grows(rest: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return -rest  # towards time 0, by e

    exact = from_cells(drawn * math.e)
    first, second = (
        float((refiner().refine(blurred, latent, drawn, steps, grows) - exact).norm())
        for steps in (16, 32)
    )
    assert first / second == pytest.approx(4, rel=0.1)


def test_a_latent_of_other_sides_is_brought_to_the_level_s() -> None:
    drawn, coarse = torch.randn(1, *noise_shape(SHAPE)), torch.randn(1, 2, 2, 3, 2)
    found = refiner().refine(torch.rand(1, 1, *SHAPE), coarse, drawn, steps=1)
    assert found.shape == (1, 1, *SHAPE)


def test_an_autoencoder_gets_one_or_another_and_decodes_as_before() -> None:
    autoencoder = Autoencoder(preset("tiny").autoencoder).eval()
    made = new_refiner(CONFIG, autoencoder, (0.2, -0.1), (1.5, 0.7))
    refined = with_refiner(autoencoder, CONFIG, made.state_dict()).eval()
    latent = torch.randn(1, 2, 4, 6, 4)
    torch.testing.assert_close(refined.decode(latent), autoencoder.decode(latent))
    torch.testing.assert_close(refined.refiner.latent_std.flatten(), torch.tensor([1.5, 0.7]))
    other = replace(CONFIG, channels=(4, 8))
    again = new_refiner(other, autoencoder, (0.0, 0.0), (1.0, 1.0))
    assert with_refiner(refined, other, again.state_dict()).config.refiner == other


def test_a_config_tells_of_one_only_where_there_is_one() -> None:
    plain = preset("tiny").autoencoder
    assert "refiner" not in plain.to_json()
    refined = replace(plain, refiner=CONFIG)
    assert AutoencoderConfig.from_json(refined.to_json()) == refined
    assert AutoencoderConfig.from_json(plain.to_json()) == plain
    assert (CONFIG.factor, RefinerConfig().factor) == (4, 1)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"channels": (8,)}, r"refiner channels \(8,\): expected two levels or more"),
        ({"channels": (8, 10), "norm_num_groups": 4}, "each must divide by norm_num_groups 4"),
        ({"channels": (8, 0)}, "refiner channels 0: expected a whole number 1 to"),
        ({"num_res_blocks": 0}, "refiner num_res_blocks 0: expected a whole number 1 to"),
        ({"steps": 0}, "refiner steps 0: expected a whole number 1 to"),
    ],
)
def test_a_config_that_does_not_work_is_told(fields: dict[str, object], line: str) -> None:
    with pytest.raises(LdmError, match=line):
        RefinerConfig(**fields)  # type: ignore[arg-type]
