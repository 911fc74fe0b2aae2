"""The published bundle's way in: its networks, equations, place in space, and broken copies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet

from ldm import noise
from ldm.covariates import PAPER_SCHEMA, Row
from ldm.errors import LdmError
from ldm.loading import describe, load
from ldm.models.bundle.description import describe_bundle, paper_distribution
from ldm.models.latent_diffusion import Model
from ldm.training.presets import paper
from ldm.volumes.conversion import quantise, to_image
from ray_jobs import cli
from ray_jobs.generation.start import located
from tests.e2e.running import ROOT
from tests.ldm import restatement
from tests.ldm.bundles import NARROW, PAPER, networks, old_names, write_bundle

ROWS: list[Row] = [
    {"sex": "F", "age": 50.0, "ventricular_volume": 20_000.0, "brain_volume": 1.4e6},
    {"sex": "M", "age": 90.0, "ventricular_volume": 190_000.0, "brain_volume": 1.1e6},
]
KEYS: list[tuple[int, ...]] = [(3, 0), (3, 1)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "unpacked")


@pytest.fixture(scope="module")
def nets() -> tuple[AutoencoderKL, DiffusionModelUNet]:
    """The networks of that bundle, built by MONAI alone."""
    return networks(NARROW)


@pytest.fixture(scope="module")
def model(kept: Path) -> Model:
    return load(f"monai:{kept}", device="cpu", precision="fp32")


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A bundle of this test alone."""
    return Path(shutil.copytree(kept, tmp_path / "unpacked"))


# ------------------------------------------------------------------------------ what comes out


@torch.no_grad()
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_every_step_and_the_volume_equal_the_papers_equations_over_monais_networks(
    model: Model, nets: tuple[AutoencoderKL, DiffusionModelUNet], sampler: str
) -> None:
    autoencoder, unet = nets
    drawn = noise.normal(model.latent_shape, noise.LATENT, *KEYS[0])
    start = torch.from_numpy(drawn)[None]
    scaled = torch.tensor([[0.0, 6 / 38, (20_000 - 6995.68) / (171_375 - 6995.68), 0.39368]])
    if sampler == "ddim":
        wanted = [*restatement.ddim(unet, start, scaled, 10)]
    else:

        def step_noise(number: int) -> torch.Tensor:
            shape = model.latent_shape
            return torch.from_numpy(noise.normal(shape, noise.STEP, number, *KEYS[0]))[None]

        wanted = [*restatement.ddpm(unet, start, scaled, 10, step_noise)]

    seen: list[torch.Tensor] = []
    hook = model.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = model.sample_latents(ROWS[:1], KEYS[:1], steps=10, sampler=sampler)
    hook.remove()
    assert len(seen) == 10
    torch.testing.assert_close(seen[0], start, rtol=0, atol=0)
    for latent, reference in zip([*seen[1:], found], wanted, strict=True):
        torch.testing.assert_close(latent, reference, rtol=1e-4, atol=1e-4)

    raw = restatement.decode(autoencoder, wanted[-1]).numpy()
    np.testing.assert_allclose(model.decode(found), raw[:, ::-1], rtol=1e-3, atol=1e-3)


def test_conditioning_values_are_the_papers_scaled_covariates_in_the_bundles_order() -> None:
    assert PAPER_SCHEMA.names == ("sex", "age", "ventricular_volume", "brain_volume")
    low = {"sex": "F", "age": 44, "ventricular_volume": 6_995.68, "brain_volume": 1_144_240}
    high = {"sex": "M", "age": 82, "ventricular_volume": 171_375, "brain_volume": 1_793_910}
    assert PAPER_SCHEMA.scale(low).tolist() == [0, 0, 0, 0]
    assert PAPER_SCHEMA.scale(high).tolist() == [1, 1, 1, 1]


def test_a_voxel_lies_where_the_authors_saver_and_crop_put_it(model: Model) -> None:
    """The network's own array under the saver's axes, and ours, are the same image."""
    grid = paper().grid
    assert describe_grid(grid.shape).affine == pytest.approx(grid.affine)
    raw = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = 96.48 - 16, -141.48 + 16, -156.55 + 96
    theirs = nib.as_closest_canonical(nib.Nifti1Image(raw, affine))
    ours = to_image(quantise(raw[::-1]), grid)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), atol=1e-3)
    assert nib.aff2axcodes(ours.affine) == ("R", "A", "S")
    assert model.autoencoder.config.mirrored


def describe_grid(shape: tuple[int, ...]) -> Any:
    from ldm.models.bundle.description import CENTRE
    from ldm.volumes.grid import Grid

    return Grid(shape=shape, spacing=1.0, centre=CENTRE)  # type: ignore[arg-type]


def test_a_mirrored_autoencoder_takes_volumes_as_it_gives_them(model: Model) -> None:
    volumes = np.random.default_rng(0).random((1, *NARROW.shape), dtype=np.float32)
    plain = networks(NARROW)[0]
    with torch.no_grad():
        mean, _ = plain.encode(torch.from_numpy(volumes[:, None, ::-1].copy()))
        wanted = plain.decode(mean)[:, 0].numpy()[:, ::-1]
    np.testing.assert_allclose(model.reconstruct(volumes), wanted, rtol=1e-3, atol=1e-3)


def test_the_configs_of_the_zoos_bundle_are_the_papers_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a byte of 2.2 GB is needed to know them."""
    bundle = write_bundle(tmp_path / "unpacked")
    wide = tmp_path / "wide"
    shutil.copytree(bundle, wide)
    edit(wide, autoencoder_def=PAPER.autoencoder_def, diffusion_def=PAPER.diffusion_def)
    description = describe(f"monai:{wide}")
    preset = paper()
    assert {**preset.autoencoder.to_json(), "mirrored": True} == full(description.autoencoder, 1)
    assert preset.denoiser.to_json() == full(description.denoiser, 2)
    assert preset.schedule.to_json() == description.schedule
    assert description.latent_mean == (0.0, 0.0, 0.0)
    assert description.latent_std == (1.0, 1.0, 1.0)


def full(document: dict[str, Any], network: int) -> dict[str, Any]:
    from ldm.networks import AutoencoderConfig, DenoiserConfig

    config: Any = AutoencoderConfig if network == 1 else DenoiserConfig
    return config.from_json(document).to_json()  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- old and new names


def test_both_namings_give_the_same_network_as_monais_own_conversion(
    kept: Path, model: Model, tmp_path: Path
) -> None:
    state = torch.load(kept / "models" / "model.pt", weights_only=True)
    assert any(".to_out.0." in name for name in state)
    assert not any(".out_proj." in name for name in state)
    oracle = DiffusionModelUNet(**NARROW.diffusion_def)
    oracle.load_old_state_dict(state)
    decoder = AutoencoderKL(**NARROW.autoencoder_def)
    decoder.load_old_state_dict(torch.load(kept / "models" / "autoencoder.pt", weights_only=True))
    new = load(f"monai:{write_bundle(tmp_path / 'new', old=False)}", device="cpu", precision="fp32")
    for one in (model, new):
        for network, wanted in ((one.denoiser.net, oracle), (one.autoencoder.net, decoder)):
            pairs = zip(network.state_dict().items(), wanted.state_dict().items(), strict=True)
            for (name, tensor), (expected, reference) in pairs:
                assert name == expected
                assert torch.equal(tensor, reference), name
    assert model.fingerprint != new.fingerprint  # other bytes, though they mean the same


def test_the_earlier_packages_field_names_are_understood(folder: Path, model: Model) -> None:
    unet, decoder = NARROW.diffusion_def, NARROW.autoencoder_def
    for section in (unet, decoder):
        section["num_channels"] = section.pop("channels")
    scheduler = {
        "_target_": "generative.networks.schedulers.DDIMScheduler",
        "beta_start": 0.0015,
        "beta_end": 0.0205,
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
    }
    edit(folder, autoencoder_def=decoder, diffusion_def=unet, scheduler=scheduler)
    assert describe(f"monai:{folder}").fingerprint == model.fingerprint


# ------------------------------------------------------------------- what is said, and what not


def test_describing_needs_no_torch_and_tells_other_weights_apart(
    kept: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from ldm.loading import describe\n"
        f"print(describe('monai:{kept}').fingerprint)\n"
        "assert not {'torch', 'monai'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == describe(f"monai:{kept}").fingerprint
    other = write_bundle(tmp_path / "other", seed=1)
    assert describe(f"monai:{other}").fingerprint != found.stdout.strip()
    copy = shutil.copytree(kept, tmp_path / "copy")
    assert describe(f"monai:{copy}").fingerprint == found.stdout.strip()


def test_large_files_are_read_once_and_again_when_they_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm.models.bundle import digests

    computed: list[Path] = []
    compute = digests._compute
    monkeypatch.setattr(digests, "_compute", lambda path: (computed.append(path), compute(path))[1])
    first = describe(f"monai:{folder}").fingerprint
    assert describe(f"monai:{folder}").fingerprint == first
    assert [path.name for path in computed] == ["autoencoder.pt", "model.pt"]
    torch.save(old_names(networks(NARROW, 5)[1].state_dict()), folder / "models" / "model.pt")
    assert describe(f"monai:{folder}").fingerprint != first


def test_a_bundle_with_other_weights_does_not_pass_for_the_published_one(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = describe(f"monai:{kept}")
    assert (other.name, other.card["license"]) == ("monai-bundle", "not stated")
    assert "not the published one" in other.card["description"]
    own = {name: _md5(kept / name) for name in ("models/autoencoder.pt", "models/model.pt")}
    monkeypatch.setattr("ldm.models.bundle.description.PUBLISHED_MD5", own)
    published = describe(f"monai:{kept}")
    assert (published.name, published.card["license"]) == ("pinaya2022", "Apache-2.0")
    assert "Pinaya" in published.card["attribution"]
    unknown = " ".join(published.card["training"]["not_known"])
    assert "not published" in unknown
    assert "not confirmed" in unknown


def _md5(path: Path) -> str:
    from ldm.models.bundle.fetch import md5

    return md5(path)


def test_the_cohort_is_drawn_as_the_paper_describes_it() -> None:
    distribution = paper_distribution()
    rows = [distribution.sample(noise.generator(77, index)) for index in range(4000)]
    age = np.array([float(row["age"]) for row in rows])
    assert age.mean() == pytest.approx(63.6, abs=0.4)
    assert age.std() == pytest.approx(7.5, abs=0.3)
    assert 44 <= age.min() < age.max() <= 82
    assert np.mean([row["sex"] == "M" for row in rows]) == pytest.approx(0.47, abs=0.03)
    volumes = [[float(row[n]) for row in rows] for n in ("ventricular_volume", "brain_volume")]
    for name, values in zip(("ventricular_volume", "brain_volume"), volumes, strict=True):
        covariate = PAPER_SCHEMA[name]
        scaled = np.sort([covariate.scale(value) for value in values])
        assert scaled[0] >= 0
        assert scaled[-1] <= 1
        uniform = (np.arange(len(scaled)) + 0.5) / len(scaled)
        assert np.abs(scaled - uniform).max() < 0.03  # Kolmogorov-Smirnov, 1 % level 0.026
    assert np.abs(np.corrcoef([age, *volumes]) - np.eye(3)).max() < 0.06
    again = type(distribution).from_json(json.loads(json.dumps(distribution.to_json())))
    assert again == distribution


# --------------------------------------------------------------------------------- broken copies


def edit(folder: Path, **changes: object) -> None:
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(source: str, read: Callable[[str], object] = load) -> str:
    """The one line with which `source` is refused."""
    with pytest.raises(LdmError) as caught:
        read(source)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    "name",
    ["configs/metadata.json", "configs/inference.json", "models/autoencoder.pt", "models/model.pt"],
)
@pytest.mark.parametrize("how", ["missing", "cut", "damaged"])
def test_a_file_that_is_missing_or_damaged_is_told(folder: Path, name: str, how: str) -> None:
    path = folder / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:  # in the middle: of a weight, or of a config's text
        middle = len(data) // 2
        path.write_bytes(data[:middle] + b"\x00\xff\x00\xff" + data[middle + 4 :])
    assert name in refused(f"monai:{folder}", describe)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diffusion_def": None}, "diffusion_def is missing"),
        ({"autoencoder_def": {**NARROW.autoencoder_def, "channels": "$[8, 8]"}}, "expected a list"),
        (
            {"autoencoder_def": {**NARROW.autoencoder_def, "with_decoder_nonlocal_attn": True}},
            "with_decoder_nonlocal_attn is true, expected false",
        ),
        ({"diffusion_def": {**NARROW.diffusion_def, "in_channels": 3}}, "in_channels is 3"),
        (
            {"diffusion_def": {**NARROW.diffusion_def, "num_res_blocks": "2"}},
            'num_res_blocks is "2", expected a number',
        ),
        (
            {"diffusion_def": {**NARROW.diffusion_def, "norm_num_groups": 7}},
            "each must divide by norm_num_groups 7",
        ),
        (
            {"diffusion_def": {**NARROW.diffusion_def, "channels": [16, 24, 64]}},
            "models/model.pt does not fit the networks",
        ),
    ],
    ids=["missing", "expression", "architecture", "hybrid", "text", "groups", "wider"],
)
def test_a_bundle_of_another_kind_is_told(
    folder: Path, changes: dict[str, object], words: str
) -> None:
    edit(folder, **changes)
    assert words in refused(f"monai:{folder}")


def test_a_volume_that_the_networks_cannot_make_is_told(folder: Path) -> None:
    path = folder / "configs" / "metadata.json"
    for shape, words in (([32, 40, 32], "divide by 32"), (["2*p"], "three sides")):
        document = json.loads(path.read_text())
        document["network_data_format"]["outputs"]["pred"]["spatial_shape"] = shape
        path.write_text(json.dumps(document))
        assert words in refused(f"monai:{folder}", describe)


def test_weights_that_are_no_plain_tensors_are_refused_and_no_code_of_theirs_runs(
    folder: Path, tmp_path: Path
) -> None:
    torch.save({"epoch": 3}, folder / "models" / "model.pt")
    assert "is not a state dict" in refused(f"monai:{folder}")
    torch.save(Trap(tmp_path / "trapped"), folder / "models" / "model.pt")
    assert "models/model.pt cannot be read as weights" in refused(f"monai:{folder}")
    assert not (tmp_path / "trapped").exists()


class Trap:
    """A pickle that makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def test_a_weight_that_is_absent_is_never_left_to_chance(folder: Path) -> None:
    """MONAI's own conversion would leave it random."""
    path = folder / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    del state["conv_in.conv.weight"]
    torch.save(state, path)
    assert "conv_in.conv.weight" in refused(f"monai:{folder}")


def test_expressions_of_a_config_are_never_evaluated(folder: Path, tmp_path: Path) -> None:
    edit(folder, imports=[f"$__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"])
    load(f"monai:{folder}", device="cpu", precision="fp32")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("monai:", "expected monai, or monai:DIR"),
        ("monai:s3://bucket/bundle", "expected monai, or monai:DIR"),
        ("monai:/nowhere", "no such folder"),
    ],
)
def test_a_source_that_is_no_bundle_is_told(source: str, words: str) -> None:
    assert words in refused(source, describe_bundle)


def test_generate_refuses_a_wrong_bundle_in_one_line_before_anything_starts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models" / "model.pt").write_bytes(b"half a download")
    for source, words in ((folder, "models/model.pt"), (tmp_path / "none", "no such folder")):
        out = tmp_path / "out"
        code = cli.main(["generate", "--model", f"monai:{source}", "--n", "1", "--out", str(out)])
        said = capsys.readouterr()
        assert (code, said.out, len(said.err.splitlines())) == (2, "", 1)
        assert words in said.err
        assert not out.exists()


def test_workers_are_told_the_folders_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("monai:unpacked") == f"monai:{tmp_path / 'unpacked'}"
    assert located("monai") == "monai"
