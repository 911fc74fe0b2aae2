"""A GAN as a model: its folder, its digests, and volumes that are functions of their keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ldm
from ldm.errors import LdmError
from ldm.gan.model import GanModel, save_gan
from ldm.loading import describe, load
from ldm.models.description import CARD, CONFIG, DISTRIBUTION, GENERATOR
from tests.ldm.tiny_gan import gan_description, new_generator, tiny_gan


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gan(tmp_path_factory.mktemp("model") / "gan")


def loaded(folder: Path) -> GanModel:
    model = load(folder, device="cpu", precision="fp32")
    assert isinstance(model, GanModel)
    return model


def test_a_gan_comes_back_as_it_was_saved(kept: Path, tmp_path: Path) -> None:
    wanted = new_generator()
    found = loaded(kept).generator.state_dict()
    for name, tensor in wanted.state_dict().items():
        assert (found[name] == tensor.half().float()).all(), name
    assert sorted(path.name for path in kept.iterdir()) == sorted(
        [CONFIG, DISTRIBUTION, CARD, GENERATOR]
    )
    again = save_gan(tmp_path / "again", describe(kept), wanted)
    assert again == describe(kept)
    assert (tmp_path / "again" / CONFIG).read_bytes() == (kept / CONFIG).read_bytes()


def test_the_folder_says_what_kind_it_is_and_nothing_of_diffusion(kept: Path) -> None:
    document = json.loads((kept / CONFIG).read_text())
    assert document["kind"] == "gan"
    assert document["covariates"] == []
    assert {"denoiser", "autoencoder", "schedule", "latent_mean"}.isdisjoint(document)
    assert "None: the model is unconditional." in (kept / CARD).read_text()


def test_the_fingerprint_is_of_the_weights_and_the_generator(kept: Path, tmp_path: Path) -> None:
    others = [
        save_gan(tmp_path / "a", gan_description(), new_generator(seed=1)),
        save_gan(tmp_path / "b", replace(gan_description(), bounds={}), new_generator()),
    ]
    card = save_gan(tmp_path / "c", replace(gan_description(), card={"x": 1}), new_generator())
    assert len({describe(kept).fingerprint, *(other.fingerprint for other in others)}) == 3
    assert card.fingerprint == describe(kept).fingerprint


def test_one_flipped_bit_of_the_weights_is_found(kept: Path, tmp_path: Path) -> None:
    folder = tiny_gan(tmp_path / "gan")
    data = bytearray((folder / GENERATOR).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / GENERATOR).write_bytes(data)
    with pytest.raises(LdmError, match=rf"{GENERATOR} is damaged"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "flow"}, "a model of kind 'flow', this brainpress knows latent-diffusion, gan"),
        ({"kind": ["gan"]}, "a model of kind"),
        ({"generator": {"latent": 8}}, "model.json is damaged"),
        ({"generator": None}, "model.json is damaged"),
        ({"grid": {"shape": [16, 24, 20], "spacing": 10.0, "centre": [0, 0, 0]}}, "do not fit"),
    ],
    ids=["unknown-kind", "no-kind", "half-a-config", "no-config", "another-grid"],
)
def test_a_config_that_is_no_gans_is_one_line(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = tiny_gan(tmp_path / "gan")
    document = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**document, **changes}))
    with pytest.raises(LdmError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_volume_is_a_function_of_its_key_alone(kept: Path, precision: str) -> None:
    model = load(kept, device="cpu", precision=precision)
    keys: list[tuple[int, ...]] = [(5, 0, 0), (5, 1, 0), (5, 2, 0)]
    together = model.generate([{}] * 3, keys)
    assert together.shape == (3, *model.grid.shape)
    assert together.dtype == np.uint16
    assert together.max() <= 4095
    for key, volume in zip(keys, together, strict=True):
        np.testing.assert_array_equal(model.generate([{}], [key])[0], volume)
    assert len({volume.tobytes() for volume in together}) == 3


def test_a_sample_is_an_image_in_mni_space(kept: Path) -> None:
    model = ldm.load(str(kept), device="cpu")
    image = model.sample(seed=3)
    np.testing.assert_array_equal(image.affine, model.grid.affine)
    assert image.shape == model.grid.shape


def test_covariates_and_samplers_are_refused(kept: Path) -> None:
    model = loaded(kept)
    with pytest.raises(LdmError, match="'age': this model is unconditional, it has none"):
        model.sample(age=70)
    with pytest.raises(LdmError, match="in one pass"):
        model.generate([{}], [(1,)], steps=50, sampler="ddim")
