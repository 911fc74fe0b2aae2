"""The presets agree with themselves and with the paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldm.errors import LdmError
from ldm.training.presets import PRESETS, Preset, on_card, preset, preset_text


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_together(name: str) -> None:
    found = preset(name)
    assert found.name == name
    assert found.autoencoder.latent_channels == found.denoiser.latent_channels
    assert found.denoiser.conditions == 4
    assert found.latent_copies >= 1


def test_the_paper_s_latent_is_20_x_28_x_20() -> None:
    paper = preset("paper")
    assert [side // paper.autoencoder.factor for side in paper.grid.shape] == [20, 28, 20]
    assert paper.grid.spacing == 1.0
    assert (paper.schedule.steps, paper.schedule.prediction) == (1000, "epsilon")
    assert (paper.schedule.beta_start, paper.schedule.beta_end) == (0.0015, 0.0205)
    assert not paper.standardise_conditions


@pytest.mark.parametrize("name", PRESETS)
def test_no_network_trained_in_bf16_has_a_level_two_voxels_deep(name: str) -> None:
    """There torch 2.13 takes weight gradients from memory that nobody wrote, on CPUs."""
    found = preset(name)
    latent = found.grid.shape[0] // found.autoencoder.factor
    levels = range(len(found.denoiser.channels))
    depths = [latent // found.denoiser.patch // 2**level for level in levels]
    assert 2 not in depths or found.train_diffusion.precision == "fp32"


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(LdmError, match="preset 'big': expected one of demo, lab, paper, tiny"):
        preset("big")


def test_a_grid_that_the_networks_cannot_halve_is_refused() -> None:
    tiny = preset("tiny")
    grid = replace(tiny.grid, shape=(16, 20, 16))
    with pytest.raises(LdmError, match=r"preset tiny: grid \(16, 20, 16\) must divide by 8"):
        replace(tiny, grid=grid)


def written(folder: Path, of: str = "tiny", /, **changes: Any) -> Path:
    """A preset's file with fields changed, `train_diffusion={"steps": 3}`; None takes one out."""
    document = json.loads(preset_text(preset(of)))
    for part, change in changes.items():
        if isinstance(change, dict):
            document[part].update(change)
            document[part] = {k: v for k, v in document[part].items() if v is not None}
        else:
            document[part] = change
    path = folder / "mine.json"
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_from_its_file_and_in_another_process(
    name: str, tmp_path: Path
) -> None:
    known = preset(name)
    assert preset(str(written(tmp_path, name))) == replace(known, name="mine.json")
    assert Preset.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_a_file_s_fields_become_the_preset_s_and_may_have_defaults(tmp_path: Path) -> None:
    changes = {"steps": 1e5, "learning_rate": 1, "ema_decay": None}
    path = written(tmp_path, train_diffusion=changes, denoiser={"channels": [32, 16]})
    found = preset(str(path))
    assert (found.train_diffusion.steps, found.denoiser.channels) == (100_000, (32, 16))
    assert isinstance(found.train_diffusion.steps, int)
    assert isinstance(found.train_diffusion.learning_rate, float)
    assert found.train_diffusion.ema_decay == 0.999
    assert found.autoencoder == preset("tiny").autoencoder


def test_a_card_has_every_field_of_a_file_and_the_name_of_our_own(tmp_path: Path) -> None:
    assert on_card(preset("tiny")) == {"preset": "tiny"}
    path = written(tmp_path, latent_copies=5)
    told = on_card(preset(str(path)))
    assert told == {"preset": "mine.json", "preset_fields": json.loads(path.read_text())}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grids": 1}, "unknown field grids: did you mean grid?"),
        ({"denoiser": {"chanels": [8]}}, "denoiser.chanels: did you mean denoiser.channels?"),
        ({"zebra": 1}, "unknown field zebra: expected grid, autoencoder, denoiser, refiner, sch"),
        ({"name": "demo"}, "name is no field of a file: a preset is called as its file is"),
        ({"train_diffusion": {"kl_weight": 1.0}}, "train_diffusion.kl_weight is no field of a "),
        ({"denoiser": {"conditions": 3}}, "it follows from the cohort's covariates; leave it out"),
        ({"critic": 3}, "critic is 3: expected an object with its fields"),
        ({"critic": None}, "critic is missing: expected an object with its fields"),
        ({"critic": {"layers": None}}, "critic.layers is missing: expected a whole number"),
        ({"critic": {"layers": True}}, "critic.layers is True: expected a whole number"),
        ({"latent_copies": "2"}, "latent_copies is '2': expected a whole number"),
        ({"latent_copies": 2.5}, "latent_copies is 2.5: expected a whole number"),
        ({"latent_copies": 0}, "latent_copies 0: expected at least 1"),
        ({"standardise_conditions": 1}, "standardise_conditions is 1: expected true or false"),
        ({"grid": {"spacing": "2 mm"}}, "grid.spacing is '2 mm': expected a number"),
        ({"grid": {"spacing": float("nan")}}, "grid.spacing is nan: expected a number"),
        ({"grid": {"shape": [16, 24]}}, "expected a list of 3 whole numbers"),
        ({"grid": {"shape": [16, 20, 16]}}, r"must divide by 8, .*; such as \(16, 16, 16\)"),
        ({"denoiser": {"channels": [16, 15]}}, "denoiser: U-Net channels .* must divide by norm"),
        ({"denoiser": {"head_channels": [0]}}, "denoiser: U-Net with 2 channels, 2 attention"),
        ({"autoencoder": {"channels": "8"}}, "channels is '8': expected a list of whole numbers"),
        ({"schedule": {"prediction": "x"}}, "schedule: prediction 'x': expected one of"),
        ({"train_decoder": {"precision": "fp8"}}, "train_decoder: precision 'fp8': expected one"),
        ({"train_features": {"steps": 0}}, "train_features: steps 0: expected at least 1"),
        ({"features": {"piece": 32}}, "features.piece 32 is larger than grid"),
        ({"latent_scale": "two"}, "latent_scale 'two': expected channel or one"),
        ({"train_diffusion": {"timesteps": "often"}}, "timesteps 'often': expected uniform or"),
        ({"perceptual": ""}, "perceptual is empty: expected cohort, monai, a path or off"),
    ],
)
def test_a_field_that_does_not_work_is_told_in_one_line(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(LdmError, match=told) as caught:
        preset(str(path))
    assert str(caught.value).startswith("preset mine.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory; `brainpress preset demo --out mine.json` writes one"),
        (b'{\n "grid": {\n', "not JSON: .* in line 3, column 1"),
        (b"[]", "not a preset: not a JSON object"),
        (b"\xff\xfe\x00", "not a preset: "),
        (b"{}", "grid is missing: expected an object with its fields"),
    ],
)
def test_a_file_that_is_no_preset_is_told(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LdmError, match=told):
        preset(str(path))
