"""A loaded model: each sample its own seed's, whatever is made beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import ldm
from ldm.covariates import Row
from ldm.diffusion.config import SAMPLERS
from ldm.errors import LdmError
from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.volumes.conversion import LEVELS, NOT_FINITE, dequantise, quantise
from tests.ldm.tiny_model import networks, working_folder

ROWS: list[Row] = [
    {"sex": "F", "age": 50.0, "ventricular_volume": 20_000.0, "brain_volume": 1.4e6},
    {"sex": "M", "age": 80.0, "ventricular_volume": 90_000.0, "brain_volume": 1.6e6},
    {"sex": "M", "age": 61.0, "ventricular_volume": 40_000.0, "brain_volume": 1.2e6},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_folder(tmp_path_factory)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder, device="cpu", precision="fp32")


def generate(model: Model, *samples: tuple[int, int], **options: object) -> np.ndarray:
    """Volumes of (row, seed) pairs, in three steps."""
    rows, keys = [ROWS[row] for row, _ in samples], [(seed, 0) for _, seed in samples]
    return model.generate(rows, keys, **{"steps": 3, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_is_the_same_whoever_is_in_its_batch_and_at_every_call(
    model: Model, sampler: str
) -> None:
    first = generate(model, (0, 7), (1, 8), sampler=sampler)
    assert first.shape == (2, *model.grid.shape)
    assert (first.dtype, first.max() <= LEVELS) == (np.uint16, True)
    np.testing.assert_array_equal(generate(model, (0, 7), (1, 8), sampler=sampler), first)
    np.testing.assert_array_equal(generate(model, (0, 7), (2, 9), sampler=sampler)[0], first[0])
    np.testing.assert_array_equal(generate(model, (1, 8), (0, 7), sampler=sampler), first[::-1])


def test_seed_covariates_sampler_and_steps_each_change_the_sample(model: Model) -> None:
    first = generate(model, (0, 7))
    others = [
        generate(model, (0, 8)),
        generate(model, (1, 7)),
        generate(model, (0, 7), sampler="ddpm"),
        generate(model, (0, 7), steps=4),
        generate(model, (0, 7), eta=1.0),
        generate(model, (0, 7), sampler="unipc"),
    ]
    assert all((first != other).any() for other in others)


def test_latents_leave_in_the_autoencoder_s_own_scale(model: Model) -> None:
    moved = Model(
        replace(model.description, latent_mean=(5.0, -1.0), latent_std=(2.0, 3.0)),
        *networks(),
    )
    options = {"steps": 2, "sampler": "ddim"}
    plain = Model(model.description, *networks()).sample_latents(ROWS[:1], [(1,)], **options)
    scale = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1, 1)
    offset = torch.tensor([5.0, -1.0]).view(1, 2, 1, 1, 1)
    found = moved.sample_latents(ROWS[:1], [(1,)], **options)
    torch.testing.assert_close(found, plain * scale + offset)
    assert found.shape[1:] == moved.latent_shape


def test_a_network_that_gives_nan_marks_the_volume(model: Model) -> None:
    broken, whole = networks(), networks()
    broken[1].net.out[2].conv.bias.data.fill_(torch.nan)
    assert (generate(Model(model.description, *broken), (0, 7)) == NOT_FINITE).all()
    assert (generate(Model(model.description, *whole), (0, 7)) <= LEVELS).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"steps": 1001}, "1001 sampling steps"),
        ({"sampler": "euler"}, "sampler 'euler'"),
    ],
)
def test_impossible_options_are_refused(model: Model, call: dict, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        generate(model, (0, 7), **call)


def test_rows_must_be_complete_and_as_many_as_keys(model: Model) -> None:
    with pytest.raises(LdmError, match="1 covariate rows for 2 noise keys"):
        model.generate(ROWS[:1], [(1,), (2,)])
    with pytest.raises(LdmError, match="0 covariate rows"):
        model.generate([], [])
    with pytest.raises(LdmError, match="covariate sex, ventricular_volume, brain_volume missing"):
        model.generate([{"age": 50.0}], [(1,)])


def test_sample_gives_an_image_that_lies_on_the_grid(model: Model) -> None:
    image = model.sample(seed=3, steps=2, age=70, sex="F")
    assert isinstance(image, nib.Nifti1Image)
    assert image.shape == model.grid.shape
    np.testing.assert_allclose(image.affine, model.grid.affine)
    row = model.distribution.sample(
        ldm.noise.generator(ldm.noise.COVARIATES, 3), {"age": 70, "sex": "F"}
    )
    assert (row["age"], row["sex"]) == (70, "F")
    wanted = model.generate([row], [(3,)], steps=2)[0]
    np.testing.assert_array_equal(quantise(image.get_fdata()), wanted)


def test_sample_repeats_and_answers_to_its_seed_and_covariates(model: Model) -> None:
    def volume(**options: object) -> np.ndarray:
        return np.asarray(model.sample(**{"seed": 3, "steps": 2, **options}).dataobj)  # type: ignore[arg-type]

    first = volume()
    np.testing.assert_array_equal(volume(), first)
    assert (volume(seed=4) != first).any()
    assert (volume(age=120) != first).any()


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        ({"agee": 70}, "unknown covariate 'agee': did you mean age?"),
        ({"sex": "X"}, "sex is 'X': expected one of F, M"),
        ({"age": "old"}, "age is 'old': expected a finite number"),
    ],
)
def test_sample_refuses_what_the_schema_does_not_know(
    model: Model, covariates: dict, words: str
) -> None:
    with pytest.raises(LdmError, match=words.replace("?", r"\?")):
        model.sample(steps=1, **covariates)


@torch.no_grad()
def test_reconstruct_is_the_decoded_mean(model: Model) -> None:
    volumes = np.random.default_rng(0).random((2, *model.grid.shape), dtype=np.float32)
    mean, _ = model.autoencoder.encode(torch.from_numpy(volumes[:, None]))
    np.testing.assert_allclose(
        model.reconstruct(volumes), model.autoencoder.decode(mean)[:, 0].numpy(), atol=1e-5
    )


def test_bf16_gives_nearly_the_volume_of_fp32(folder: Path, model: Model) -> None:
    half = load(folder, device="cpu", precision="bf16")
    assert half.denoiser.net.conv_in.conv.weight.dtype == torch.bfloat16
    assert half.autoencoder.last_convolution.conv.weight.dtype == torch.float32
    one, other = (dequantise(generate(m, (0, 7))) for m in (model, half))
    assert np.abs(one - other).mean() < 0.02 * one.std() + 0.005


def test_the_package_s_load_is_the_model_s(folder: Path, model: Model) -> None:
    loaded = ldm.load(str(folder), device="cpu")
    assert loaded.fingerprint == model.fingerprint
    assert (loaded.name, loaded.device) == ("working", "cpu")
    assert loaded.card == model.card


def test_an_unknown_precision_is_refused(folder: Path) -> None:
    with pytest.raises(LdmError, match="precision 'fp8'"):
        load(folder, precision="fp8")
