"""The model folder: what it keeps, what its fingerprint covers, and how damage is told."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ldm.errors import LdmError
from ldm.folders import replace_folder
from ldm.loading import describe, load
from ldm.models.description import AUTOENCODER, CARD, CONFIG, DENOISER, DISTRIBUTION
from ldm.models.latent_diffusion import save
from tests.e2e.running import ROOT
from tests.ldm.tiny_model import networks, working_model
from tests.ports import free_ports


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that no test changes."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    working_model(folder)
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A model folder of this test alone."""
    return Path(shutil.copytree(kept, tmp_path / "model"))


def refused(source: str | Path, read: Callable[[Any], object] = load) -> str:
    """The one line with which `source` is refused."""
    with pytest.raises(LdmError) as caught:
        read(source)
    line = str(caught.value)
    assert "\n" not in line
    assert str(source) in line
    return line


def edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**document, **changes}))


def test_a_model_comes_back_as_it_was_saved(kept: Path, tmp_path: Path) -> None:
    description = describe(kept)
    for network, loaded in zip(networks(), _networks_of(kept), strict=True):
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(
                loaded.state_dict()[name], tensor.half().float(), rtol=0, atol=0
            )
    again = save(tmp_path / "again", description, *networks())
    assert again == description
    assert again.fingerprint == description.fingerprint
    assert (tmp_path / "again" / CONFIG).read_bytes() == (kept / CONFIG).read_bytes()


def _networks_of(folder: Path) -> tuple[torch.nn.Module, torch.nn.Module]:
    model = load(folder, device="cpu", precision="fp32")
    return model.autoencoder, model.denoiser


def test_saving_over_a_folder_replaces_it_whole_and_leaves_nothing_beside_it(folder: Path) -> None:
    (folder / "stray").write_text("of an older model")
    save(folder, replace(describe(folder), name="newer"), *networks(seed=1))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [CONFIG, DISTRIBUTION, CARD, AUTOENCODER, DENOISER]
    )
    assert describe(folder).name == "newer"
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_folder_is_put_in_place_by_one_rename(tmp_path: Path) -> None:
    (tmp_path / "side").mkdir()
    replace_folder(tmp_path / "side", tmp_path / "place")
    assert [p.name for p in tmp_path.iterdir()] == ["place"]


def test_the_fingerprint_is_of_what_shapes_a_sample_and_not_of_the_card(
    folder: Path, tmp_path: Path
) -> None:
    description = describe(folder)
    card = {**description.card, "description": "told in other words"}

    def fingerprint(changed: Any, seed: int = 0) -> str:
        return save(tmp_path / "other", changed, *networks(seed)).fingerprint

    assert fingerprint(replace(description, card=card)) == description.fingerprint
    assert "told in other words" in (tmp_path / "other" / CARD).read_text()
    others = [
        fingerprint(description, seed=1),
        fingerprint(replace(description, latent_std=(1.0, 2.0))),
        fingerprint(replace(description, bounds={"mean_intensity": (0.0, 1.0)})),
        fingerprint(replace(description, schedule={**description.schedule, "beta_end": 0.02})),
    ]
    assert len({description.fingerprint, *others}) == 5


def test_the_card_says_what_a_reader_must_know(folder: Path) -> None:
    description = replace(
        describe(folder),
        card={
            "name": "Small brains",
            "license": "CC-BY-SA-3.0",
            "demo": True,
            "training": {"n": 7},
        },
    )
    save(folder, description, *networks())
    text = (folder / CARD).read_text()
    for words in ("# Small brains", "CC-BY-SA-3.0", "demonstration", "10 mm", "ventricular_volume"):
        assert words in text


def test_describing_needs_no_torch(kept: Path) -> None:
    code = (
        "import sys\n"
        "from ldm.loading import describe\n"
        f"print(describe({str(kept)!r}).fingerprint)\n"
        "assert not {'torch', 'monai', 'safetensors'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == describe(kept).fingerprint


@pytest.mark.parametrize("name", [CONFIG, DISTRIBUTION, AUTOENCODER, DENOISER])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing" in refused(folder)


@pytest.mark.parametrize("name", [DISTRIBUTION, AUTOENCODER, DENOISER])
def test_a_truncated_file_is_named_with_its_sizes(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    (folder / name).write_bytes((folder / name).read_bytes()[: size - 100])
    assert f"{name} has {size - 100:,} bytes, expected {size:,}" in refused(folder)


@pytest.mark.parametrize("name", [DISTRIBUTION, AUTOENCODER, DENOISER])
def test_one_flipped_bit_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    assert f"{name} is damaged (its sha256 is not that of {CONFIG})" in refused(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"model"', "\xff\xfe"])
def test_a_config_that_is_no_json_object_is_told(folder: Path, text: str) -> None:
    (folder / CONFIG).write_bytes(text.encode("latin-1"))
    assert f"{CONFIG} is not" in refused(folder, describe)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": {"shape": [16, 24], "spacing": 10.0, "centre": [0, 0, 0]}},
        {"grid": {"shape": ["a", 24, 16], "spacing": 10.0, "centre": [0, 0, 0]}},
        {"grid": None},
        {"covariates": [{"title": "age"}]},
        {"covariates": 7},
        {"latent_mean": None},
        {"bounds": {"mean_intensity": ["low", "high"]}},
        {"bounds": {"mean_intensity": [0.1]}},
        {"bounds": {"mean_intensity": [0.9, 0.1]}},
        {"bounds": {"sharpness": [0.1, 0.9]}},
        {"calibration": ["age"]},
        {"calibration": {"age": 2}},
        {"calibration": {"age": {"constant": 0, "weights": {"age": "twice"}}}},
        {"files": []},
        {"files": {DISTRIBUTION: {}}},
        {"files": {DISTRIBUTION: None}},
        {"name": ...},
    ],
    ids=lambda changes: f"{changes!s:.60}",
)
def test_a_config_with_a_wrong_field_is_one_line(folder: Path, changes: dict) -> None:
    document = {**json.loads((folder / CONFIG).read_text()), **changes}
    kept = {name: value for name, value in document.items() if value is not ...}
    (folder / CONFIG).write_text(json.dumps(kept))
    with pytest.raises(LdmError) as caught:
        describe(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"denoiser": {"sorcery": True}},
        {"denoiser": None},
        {"autoencoder": {}},
        {"schedule": {"steps": "many"}},
        {"latent_mean": [0.0]},
        {"latent_std": [1.0, 1.0, 1.0]},
        {"latent_std": [1.0, None]},
        {"covariates": [{"name": "age"}]},
        {"grid": {"shape": [4, 4, 4], "spacing": 10.0, "centre": [0, 0, 0]}},
    ],
    ids=str,
)
def test_a_config_of_no_network_is_one_line(folder: Path, changes: dict) -> None:
    edit(folder, **changes)
    refused(folder)


@pytest.mark.parametrize("listed", [None, {}, 7])
def test_a_weight_file_listed_without_its_digest_is_one_line(folder: Path, listed: object) -> None:
    files = json.loads((folder / CONFIG).read_text())["files"]
    edit(folder, files={**files, AUTOENCODER: listed})
    assert CONFIG in refused(folder)


def test_a_file_that_the_config_does_not_list_is_not_read(folder: Path) -> None:
    files = json.loads((folder / CONFIG).read_text())["files"]
    edit(folder, files={name: entry for name, entry in files.items() if name != DENOISER})
    assert f"{CONFIG} does not list {DENOISER}" in refused(folder)


def test_another_program_s_folder_and_a_newer_format_are_told_apart(folder: Path) -> None:
    edit(folder, version=2)
    line = refused(folder, describe)
    assert "model format version 2, this brainpress reads version 1" in line
    edit(folder, format="diffusers")
    assert f"{CONFIG} is not a brainpress-model file" in refused(folder, describe)


@pytest.mark.parametrize("source", ["demoo", "no/such/folder"])
def test_an_unknown_source_is_told_with_what_there_is(source: str) -> None:
    assert 'expected "demo", a model folder or an s3:// URI' in refused(source)


def _listed_as_good(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its digest, as a careless or a hostile author would."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / CONFIG).read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    edit(folder, files=files)


class _Mischief:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_loading_never_unpickles(folder: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save({"weights": _Mischief(touched)}, tmp_path / "weights.pt")
    data = (tmp_path / "weights.pt").read_bytes()
    for name in (AUTOENCODER, DENOISER):
        _listed_as_good(folder, name, data)
    assert "not a safetensors file" in refused(folder)
    assert not touched.exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert touched.exists(), "the trap itself must work"


def test_the_weights_of_another_network_are_told(folder: Path) -> None:
    _listed_as_good(folder, DENOISER, (folder / AUTOENCODER).read_bytes())
    assert f"{DENOISER} does not fit the model's config" in refused(folder)


def test_a_bucket_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = free_ports(1)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-told")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # Six attempts are made; the half minute between them is left out.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
    line = refused("s3://bucket/model", describe)
    assert "cannot be read" in line
    assert f"127.0.0.1:{port}" in line
    assert "never-to-be-told" not in line


def test_digests_listed_are_those_of_the_files(kept: Path) -> None:
    for name, entry in describe(kept).files.items():
        data = (kept / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert np.all([(kept / name).exists() for name in (CONFIG, CARD)])
