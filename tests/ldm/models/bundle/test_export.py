"""Exported bundles: MONAI alone runs them, and gives the volume that `generate` gives."""

from __future__ import annotations

import ast
import gzip
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema, Row
from ldm.covariates.calibration import Calibration, Plane
from ldm.covariates.distribution import CohortDistribution
from ldm.diffusion.schedule import PREDICTIONS, Schedule, even_times
from ldm.errors import LdmError
from ldm.loading import describe, load
from ldm.models.bundle import scripts
from ldm.models.bundle.documents import autoencoder_def, network_def
from ldm.models.bundle.export import export_bundle, is_exported
from ldm.models.bundle.scripts import sampler
from ldm.models.latent_diffusion import Model, save
from ldm.networks import Autoencoder, Denoiser, DenoiserConfig
from ldm.networks.autoencoder import with_refiner
from ldm.noise import LATENT, normal
from ldm.training.decoder import new_refiner
from ldm.training.presets import PRESETS, preset
from ldm.volumes.conversion import to_nifti_bytes
from ray_jobs import cli
from tests.ldm.bundles import write_bundle
from tests.ldm.tiny_model import working_model

ROW: Row = {"sex": "M", "age": 70.5, "ventricular_volume": 190_000.0, "brain_volume": 1.5e6}
KEY = (3, 12, 1)


def export(source: str, folder: Path) -> None:
    export_bundle(load(source, device="cpu", precision="fp32"), source, folder)


@pytest.fixture(scope="module")
def standardising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with all that the demo model has: patches, v, standardised conditions."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    description = working_model(folder)
    torch.manual_seed(2)
    tiny = preset("tiny")
    config = replace(
        tiny.denoiser,
        patch=2,
        channels=(16,),
        attention_levels=(True,),
        head_channels=(16,),
        condition_mean=(0.5, 0.4, 0.2, 0.6),
        condition_std=(0.5, 0.2, 0.1, 0.2),
    )
    denoiser = Denoiser(config)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    description = replace(
        description,
        denoiser=config.to_json(),
        latent_mean=(0.2, -0.1),
        latent_std=(1.5, 0.7),
        calibration=Calibration(
            {"age": Plane(constant=-0.123457, weights={"sex": 0.1, "age": 1.3})}
        ),
        card={**description.card, "license": "CC-BY-SA-3.0", "attribution": "somebody"},
    )
    save(folder, description, Autoencoder(tiny.autoencoder), denoiser)
    return folder


@pytest.fixture(autouse=True)
def _other_scripts() -> Iterator[None]:
    """A bundle run in this process imports its own package "scripts"."""
    yield
    for name in [n for n in sys.modules if n.split(".")[0] == "scripts"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def exported(standardising: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export(str(standardising), folder)
    return folder


def ran(folder: Path, *words: object) -> None:
    """`python -m monai.bundle run` inside the bundle, where nothing of brainpress can be found."""
    guard = folder.parent / "guard"
    guard.mkdir(exist_ok=True)
    for package in ("ldm", "manifests", "ray_jobs"):
        (guard / f"{package}.py").write_text("raise ImportError('the bundle needs brainpress')")
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
        + [str(word) for word in words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(guard), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_monai_runs_the_bundle_and_writes_the_file_that_generate_writes(
    standardising: Path, exported: Path, one_thread: None
) -> None:
    options = [f"--covariates#{name}={value}" for name, value in ROW.items()]
    ran(exported, "--seed=3", "--index=12", "--attempt=1", "--steps=4", *options)
    assert written(exported) == generated(str(standardising))


def test_a_bundle_of_the_papers_architecture_gives_the_same_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    source = f"monai:{write_bundle(tmp_path / 'unpacked')}"
    folder = tmp_path / "bundle"
    export(source, folder)
    monkeypatch.syspath_prepend(folder)
    monai.bundle.run(
        config_file=str(folder / "configs" / "inference.json"),
        bundle_root=str(folder),
        seed=3,
        index=12,
        attempt=1,
        steps=4,
        covariates=ROW,
    )
    assert written(folder) == generated(source)


def test_a_bundle_gives_the_same_for_a_covariate_of_three_levels(
    standardising: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    description = load(str(standardising), device="cpu", precision="fp32").description
    levels = ("CN", "MCI", "AD")
    dx = Covariate(name="dx", kind="categorical", levels=levels, coding="one-hot")
    schema = CovariateSchema((PAPER_SCHEMA["age"], dx))
    table = {"age": np.linspace(50, 80, 60), "dx": np.array(levels * 20)}
    config = DenoiserConfig.from_json(
        {
            **description.denoiser,
            "conditions": 4,
            "condition_mean": (0.4, 0.3, 0.3, 0.4),
            "condition_std": (0.2, 0.5, 0.5, 0.5),
        }
    )
    torch.manual_seed(3)
    denoiser = Denoiser(config)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    weights = {"age": 1.2, "dx=AD": 0.3, "dx=CN": -0.1}
    changed = replace(
        description,
        schema=schema,
        distribution=CohortDistribution.fit(schema, table),
        denoiser=config.to_json(),
        calibration=Calibration({"age": Plane(constant=-0.1, weights=weights)}),
    )
    source = str(tmp_path / "model")
    save(Path(source), changed, Autoencoder(preset("tiny").autoencoder), denoiser)
    export(source, tmp_path / "bundle")
    monkeypatch.syspath_prepend(tmp_path / "bundle")
    rows: list[Row] = [{"age": 70.0, "dx": level} for level in ("AD", "MCI")]
    found = []
    for row in rows:
        monai.bundle.run(
            config_file=str(tmp_path / "bundle" / "configs" / "inference.json"),
            bundle_root=str(tmp_path / "bundle"),
            **dict(zip(("seed", "index", "attempt"), KEY, strict=True)),
            steps=4,
            covariates=row,
        )
        found.append(written(tmp_path / "bundle"))
        assert found[-1] == generated(source, row)
    assert found[0] != found[1]
    channels = json.loads((tmp_path / "bundle" / "configs" / "metadata.json").read_text())
    inputs = channels["network_data_format"]["inputs"]["covariates"]
    assert inputs["num_channels"] == len(inputs["channel_def"]) == 4
    assert inputs["channel_def"]["3"] == "dx: 1 where it is AD, else 0"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As `generate` computes on a CPU: how sums are split over threads may change a bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def written(folder: Path) -> bytes:
    """The NIfTI file that a run of the bundle left."""
    return gzip.decompress((folder / "output" / "sample_3_000012.nii.gz").read_bytes())


def generated(source: str, row: Row = ROW) -> bytes:
    """The NIfTI file of the same sample, as `generate` makes it."""
    model = load(source, device="cpu", precision="fp32")
    levels = model.generate([row], [KEY], steps=4, sampler="ddim")[0]
    assert levels.std() > 100, "an empty picture proves nothing"
    return gzip.decompress(to_nifti_bytes(levels, model.grid))


def test_the_scripts_need_nothing_of_brainpress() -> None:
    for path in Path(next(iter(scripts.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"ldm", "manifests", "ray_jobs"}


def test_the_script_s_noise_levels_and_scaling_are_ours() -> None:
    np.testing.assert_array_equal(
        sampler.normal((2, 3, 4), sampler.LATENT, *KEY), normal((2, 3, 4), LATENT, *KEY)
    )
    for prediction in PREDICTIONS:
        schedule = Schedule(steps=50, prediction=prediction)
        for found, wanted in zip(
            sampler.levels(**schedule.to_json()), schedule.levels(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
    for prediction, truncation in itertools.product(PREDICTIONS, (0, 250)):
        schedule = Schedule(prediction=prediction, truncation=truncation)
        for steps in (1, 2, 3, 4, 5, 50):
            found = sampler.times_of(schedule.levels()[0], steps, truncation)
            assert found == even_times(schedule, steps)
    for covariate, scaled in zip(PAPER_SCHEMA.covariates, PAPER_SCHEMA.scale(ROW), strict=True):
        assert np.float32(sampler.scaled(covariate.to_json(), ROW[covariate.name])) == scaled


@pytest.mark.parametrize(
    ("prediction", "truncation", "refined"),
    [*((name, 0, False) for name in PREDICTIONS), ("v", 250, False), ("v", 250, True)],
)
def test_the_script_samples_like_the_model_whatever_is_predicted(
    standardising: Path, tmp_path: Path, prediction: str, truncation: int, refined: bool
) -> None:
    model = load(standardising, device="cpu", precision="fp32")
    assert isinstance(model, Model)
    schedule = {
        **model.description.schedule,
        "prediction": prediction,
        **({"truncation": truncation} if truncation else {}),
    }
    autoencoder = refining(model.autoencoder) if refined else model.autoencoder
    denoiser = branched(model.denoiser) if refined else model.denoiser
    description = replace(
        model.description,
        schedule=schedule,
        autoencoder=autoencoder.config.to_json(),
        denoiser=denoiser.config.to_json(),
    )
    folder = tmp_path / "model"
    save(
        folder,
        description,
        autoencoder,
        denoiser,
        dtype=torch.float32,
    )
    changed = load(folder, device="cpu", precision="fp32")
    assert isinstance(changed, Model)
    drawn = sampler.Sampler(
        autoencoder=changed.autoencoder.net,
        denoiser=changed.denoiser.net,
        covariates=changed.schema.to_json()["covariates"],
        schedule=schedule,
        latent_shape=changed.latent_shape,
        affine=changed.grid.affine.tolist(),
        latent_mean=(0.2, -0.1),
        latent_std=(1.5, 0.7),
        branch=changed.denoiser.branch,
        refiner=changed.autoencoder.refiner if refined else None,
        refiner_steps=changed.autoencoder.config.refiner.steps,
        calibration=changed.description.calibration.to_json(),
        condition_mean=(0.5, 0.4, 0.2, 0.6),
        condition_std=(0.5, 0.2, 0.1, 0.2),
        autoencoder_patch=2,
        denoiser_patch=2,
    )
    latent = changed.sample_latents([ROW], [KEY], steps=3, sampler="ddim")
    wanted = changed._finished(latent, KEY).numpy()
    torch.testing.assert_close(drawn.volume(ROW, KEY, steps=3), wanted)
    assert refined == (np.abs(wanted - changed.decode(latent)[0]).max() > 0.01)


def refining(autoencoder: Autoencoder) -> Autoencoder:
    """With a refiner of random weights after its decoder."""
    torch.manual_seed(0)
    config = PRESETS["tiny"]().refiner
    made = new_refiner(config, autoencoder, (0.2, -0.1), (1.5, 0.7))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    made.standardise(rest_std=[0.05] * 8)
    return with_refiner(autoencoder, config, made.state_dict())


def branched(denoiser: Denoiser) -> Denoiser:
    """With a branch of random weights beside it."""
    made = Denoiser(replace(denoiser.config, branch_channels=8, branch_blocks=1))
    assert made.branch is not None
    for parameter in made.branch.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    made.load_state_dict({**made.state_dict(), **denoiser.state_dict()})
    return made


def test_a_bundle_takes_the_refiner_and_the_branch_along(
    standardising: Path, tmp_path: Path, one_thread: None
) -> None:
    model = load(standardising, device="cpu", precision="fp32")
    assert isinstance(model, Model)
    autoencoder, denoiser = refining(model.autoencoder), branched(model.denoiser)
    described = replace(
        model.description,
        autoencoder=autoencoder.config.to_json(),
        denoiser=denoiser.config.to_json(),
    )
    source = tmp_path / "model"
    save(source, described, autoencoder, denoiser, dtype=torch.float32)
    export(str(source), tmp_path / "bundle")
    options = [f"--covariates#{name}={value}" for name, value in ROW.items()]
    ran(tmp_path / "bundle", "--seed=3", "--index=12", "--attempt=1", "--steps=4", *options)
    assert written(tmp_path / "bundle") == generated(str(source))


def test_a_script_s_wrong_value_is_told() -> None:
    sex, age = (PAPER_SCHEMA[name].to_json() for name in ("sex", "age"))
    with pytest.raises(ValueError, match="expected one of"):
        sampler.scaled(sex, "X")
    with pytest.raises(ValueError, match="could not convert"):
        sampler.scaled(age, "old")
    with pytest.raises(ValueError, match="not finite"):
        sampler.to_image(np.full((8, 8, 8), np.nan), np.eye(4))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_config_builds_our_networks_to_the_last_weight(name: str) -> None:
    """On torch's device without memory, so the paper's 553 million weights cost nothing."""
    from monai.networks.nets import AutoencoderKL, DiffusionModelUNet

    chosen = preset(name)
    with torch.device("meta"):
        ours = Autoencoder(chosen.autoencoder).net, Denoiser(chosen.denoiser).net
        fields = (
            autoencoder_def(chosen.autoencoder.to_json()),
            network_def(chosen.denoiser.to_json()),
        )
        theirs = [
            cls(**{k: v for k, v in one.items() if k != "_target_"})
            for cls, one in zip((AutoencoderKL, DiffusionModelUNet), fields, strict=True)
        ]
    for one, other in zip(ours, theirs, strict=True):
        assert {k: v.shape for k, v in one.state_dict().items()} == {
            k: v.shape for k, v in other.state_dict().items()
        }
        assert repr(one) == repr(other)


# From MONAI's bundle specification (docs/source/mb_specification.rst): the mandatory keys of
# metadata.json and of a tensor's format, and their types.
TENSOR = {
    "type": "object",
    "required": [
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    ],
    "properties": {
        "type": {"type": "string"},
        "format": {"type": "string"},
        "modality": {"type": "string"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "dtype": {"type": "string"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task")
TEXTS += ("description", "authors", "copyright", "intended_use", "data_type", "image_classes")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": [*TEXTS[:9], "changelog", "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "required_packages_version": {
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        "references": {"type": "array", "items": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "additionalProperties": {"type": "object", "additionalProperties": TENSOR},
        },
    },
}


def test_monais_own_check_of_metadata_accepts_it(exported: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # found there, so that MONAI does not fetch its own
    schema.write_text(json.dumps(SCHEMA))
    path = exported / "configs" / "metadata.json"
    monai.bundle.verify_metadata(meta_file=str(path), filepath=str(schema))
    document = json.loads(path.read_text())
    assert document["schema"].startswith("https://")
    del document["network_data_format"]["outputs"]["pred"]["dtype"]
    (tmp_path / "metadata.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="Failed validating"):
        monai.bundle.verify_metadata(
            meta_file=str(tmp_path / "metadata.json"), filepath=str(schema)
        )


def test_it_has_the_properties_that_monai_asks_of_an_inference_bundle(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported)
    workflow = ConfigWorkflow(
        config_file="configs/inference.json",
        meta_file="configs/metadata.json",
        workflow_type="infer",
        logging_file=False,
    )
    monkeypatch.syspath_prepend(exported)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_the_bundle_says_whose_it_is_and_how_it_is_run(exported: Path, standardising: Path) -> None:
    readme = (exported / "docs" / "README.md").read_text()
    for words in ("python -m monai.bundle run", "ventricular_volume", "CC-BY-SA-3.0", "somebody"):
        assert words in readme
    licence = (exported / "LICENSE").read_text()
    assert "CC-BY-SA-3.0" in licence
    assert "Apache License" in licence
    mark = json.loads((exported / "configs" / "metadata.json").read_text())["brainpress"]
    assert mark["model_fingerprint"] == describe(standardising).fingerprint


# ------------------------------------------------------------------------------ where it is put


def test_an_exported_bundle_is_replaced_and_leaves_nothing_beside_it(
    standardising: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    export(str(standardising), folder)
    (folder / "stray").write_text("of an older one")
    export(str(standardising), folder)
    assert is_exported(folder)
    assert not (folder / "stray").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_holds_something_else_is_left_alone(
    standardising: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    other = write_bundle(tmp_path / "zoo")
    for folder, words in (
        (tmp_path, "holds something else"),
        (other, "holds something else"),
        (tmp_path / "thesis.tex", "is a file"),
    ):
        with pytest.raises(LdmError, match=words):
            export(str(standardising), folder)
    assert (other / "models" / "model.pt").is_file()


def test_an_exported_bundle_is_not_taken_for_the_papers(exported: Path) -> None:
    """Its covariates have ranges of their own, which monai:DIR does not know."""
    with pytest.raises(LdmError, match="exported by brainpress"):
        describe(f"monai:{exported}")


def test_the_verb_exports_and_tells_errors_in_one_line(
    standardising: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export-bundle", str(standardising), str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr()
    assert "python -m monai.bundle run" in said.out
    assert (tmp_path / "bundle" / "models" / "model.pt").is_file()
    for words, message in (
        (["nowhere", str(tmp_path / "other")], "no model 'nowhere'"),
        ([str(standardising), str(tmp_path)], "holds something else"),
        ([str(standardising)], "DIR"),
    ):
        assert cli.main(["export-bundle", *words]) == 2
        said = capsys.readouterr()
        assert (said.out, len(said.err.splitlines())) == ("", 1)
        assert message in said.err
