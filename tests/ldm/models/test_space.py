"""A model of volumes in no template's space: its description, card, headers and exported bundle."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.folders import SHIPPED
from ldm.loading import describe, load
from ldm.models.bundle.export import export_bundle
from ldm.models.bundle.scripts.sampler import to_image
from ldm.models.latent_diffusion import save
from ldm.volumes.conversion import to_nifti_bytes
from ldm.volumes.grid import Grid
from tests.ldm.tiny_model import networks, working_model

MNI_CODE, ALIGNED_CODE = 4, 2
GRID = Grid(shape=(16, 24, 16), spacing=10.0)


@pytest.fixture(scope="module")
def centred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("centred") / "model"
    description = working_model(folder)
    save(folder, replace(description, grid=replace(description.grid, space="centred")), *networks())
    return folder


def codes(header: nib.Nifti1Header) -> tuple[int, int]:
    return int(header["sform_code"]), int(header["qform_code"])


def test_the_space_is_part_of_what_a_model_is_known_by_only_where_it_is_not_mni(
    centred: Path, tmp_path: Path
) -> None:
    plain = working_model(tmp_path / "plain")
    found = describe(centred)
    assert found.grid.space == "centred"
    assert found.fingerprint != plain.fingerprint
    assert "space" not in json.loads((tmp_path / "plain" / "model.json").read_text())["grid"]


def test_the_demo_models_document_is_as_it_was() -> None:
    document = json.loads((SHIPPED / "demo" / "model.json").read_text())
    found = describe("demo")
    assert found.to_json() == document
    assert found.grid.space == "MNI152"


def test_its_card_and_its_bundle_do_not_say_mni(centred: Path, tmp_path: Path) -> None:
    export_bundle(load(str(centred), device="cpu", precision="fp32"), "m", tmp_path / "bundle")
    for path in (
        centred / "README.md",
        tmp_path / "bundle" / "docs" / "README.md",
        tmp_path / "bundle" / "configs" / "metadata.json",
    ):
        text = path.read_text()
        assert "MNI" not in text, path
        assert "in no template's space" in text, path
    config = json.loads((tmp_path / "bundle" / "configs" / "inference.json").read_text())
    assert config["inferer"]["space"] == "aligned"


def test_the_bundle_of_a_model_in_mni_space_says_so_by_default(tmp_path: Path) -> None:
    working_model(tmp_path / "m")
    export_bundle(load(str(tmp_path / "m"), device="cpu", precision="fp32"), "m", tmp_path / "b")
    config = json.loads((tmp_path / "b" / "configs" / "inference.json").read_text())
    assert "space" not in config["inferer"]
    assert "mm, in MNI space." in (tmp_path / "b" / "docs" / "README.md").read_text()


@pytest.mark.parametrize(("space", "code"), [("MNI152", MNI_CODE), ("centred", ALIGNED_CODE)])
def test_headers_name_the_space_of_the_grid(space: str, code: int) -> None:
    grid = replace(GRID, space=space)
    written = gzip.decompress(to_nifti_bytes(np.zeros(GRID.shape, np.uint16), grid))
    assert codes(nib.Nifti1Image.from_bytes(written).header) == (code, code)
    of_bundle = to_image(np.zeros(GRID.shape), grid.affine, grid.nifti_code)
    assert codes(of_bundle.header) == (code, code)


def test_a_drawn_image_names_no_template(centred: Path) -> None:
    image = load(str(centred), device="cpu", precision="fp32").sample(seed=1, steps=2)
    assert codes(image.header) == (ALIGNED_CODE, ALIGNED_CODE)
