"""What is seen of a release, a cohort and a model."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ldm.errors import LdmError
from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.models.notebook import idle_cores
from ldm.networks import RefinerConfig
from ldm.networks.autoencoder import with_refiner
from manifests.page import page_files
from manifests.query.release import Release
from manifests.storage import open_store
from ray_jobs.viewing import model as model_view
from ray_jobs.viewing.cohort import view_cohort
from ray_jobs.viewing.model import ModelSite, about
from ray_jobs.viewing.release import view_release
from ray_jobs.viewing.site import Content, StoredSite, WrongAskedError
from tests.ldm.tiny_model import working_folder
from tests.manifests.releases import make_release
from tests.ray_jobs.line import write_prepared

ROW = {"sex": "F", "age": 70, "ventricular_volume": 40_000, "brain_volume": 1_100_000}


def read(content: Content | None) -> bytes:
    assert content is not None
    with content.stream:
        data = content.stream.read()
    assert len(data) == content.size
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_folder(tmp_path_factory)


@pytest.fixture
def site(folder: Path) -> ModelSite:
    return ModelSite(load(folder, device="cpu", precision="fp32"), "my model")


def test_a_release_that_is_not_published_has_its_page_made_for_the_view(tmp_path: Path) -> None:
    make_release(tmp_path / "release", 3)
    store = open_store(tmp_path / "release")
    shown = view_release(store)
    assert shown.told.endswith("; its page is made for this view, publish writes it")
    made = page_files(Release.open(store.uri))
    assert read(shown.site.get("index.html")) == made["index.html"]
    assert read(shown.site.get("page/page.js")) == made["page/page.js"]
    image = "sub-000000/anat/sub-000000_T1w.nii.gz"
    assert read(shown.site.get(image)) == store.get(image)
    assert store.look("index.html") is None, "a view wrote into the release"
    store.put("index.html", b"as published")
    assert read(view_release(store).site.get("index.html")) == b"as published"


def test_a_cohort_has_a_page_of_who_is_in_it(tmp_path: Path) -> None:
    write_prepared(tmp_path / "prepared")
    (tmp_path / "prepared" / "previews").mkdir()
    (tmp_path / "prepared" / "previews" / "prepared.png").write_bytes(b"a picture")
    store = open_store(tmp_path / "prepared")
    page = read(view_cohort(store, str(tmp_path / "prepared")).get("index.html")).decode()
    assert "served to you alone" in page
    assert page.count("<td>sub-") == 12
    assert base64.b64encode(b"a picture").decode() in page
    assert "<script" not in page


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    site = StoredSite(open_store(tmp_path))
    assert site.get("../x") is None
    assert site.get("") is None
    assert site.answer("draw", {}) is None


def test_the_page_of_a_model_has_a_slider_for_every_covariate(site: ModelSite) -> None:
    told = site.answer("about", {})
    assert told is not None
    assert [c["name"] for c in told["covariates"]] == list(ROW)
    sex, age = told["covariates"][:2]
    assert sex["value"] in sex["levels"]
    assert age["minimum"] < age["value"] < age["maximum"]
    assert 0 < age["step"] <= (age["maximum"] - age["minimum"]) / 200
    assert told["source"] == "my model"
    assert "segmenter" in told["measured_by"]
    for name in ("index.html", "model.js", "model.css", "planes.js"):
        assert read(site.get(name))
    assert site.get("../model.py") is None
    assert site.answer("other", {}) is None


def test_one_noise_and_the_same_people_give_the_same_volume(site: ModelSite) -> None:
    def voxels(seed: int, **other: Any) -> np.ndarray:
        drawn = site.answer("draw", {"seed": seed, "covariates": {**ROW, **other}})
        assert drawn is not None
        flat = np.frombuffer(base64.b64decode(drawn["voxels"]), np.uint8)
        return flat.reshape(drawn["shape"], order="F")

    first = voxels(1)
    levels = site._model.generate([site._model.schema.validate(ROW)], [(1,)])[0]
    assert np.array_equal(first, levels >> 4)
    assert not np.array_equal(first, voxels(1, age=20))
    assert not np.array_equal(first, voxels(2))
    assert np.array_equal(first, voxels(1))


def refined(folder: Path) -> Model:
    """The model with a refiner that was trained on nothing, and does something."""
    plain = load(folder, device="cpu", precision="fp32")
    assert isinstance(plain, Model)
    config = RefinerConfig(channels=(8, 16), num_res_blocks=1, norm_num_groups=4, steps=2)
    made = config.build(plain.autoencoder.config.latent_channels)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    whole = with_refiner(plain.autoencoder, config, made.state_dict())
    described = replace(plain.description, autoencoder=whole.config.to_json())
    return Model(described, whole, plain.denoiser)


def test_a_sketch_comes_before_the_fine_structure_and_is_not_drawn_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = refined(folder)
    site, asked = ModelSite(model, "my model"), {"seed": 3, "covariates": ROW}
    sampled: list[Any] = []
    sample = model.sample_latents

    def counted(*words: Any, **named: Any) -> Any:
        sampled.append(words)
        return sample(*words, **named)

    monkeypatch.setattr(model, "sample_latents", counted)
    about_it = site.answer("about", {})
    assert about_it is not None
    assert about_it["sketches"] is True
    sketch, drawn = (site.answer(key, asked) for key in ("sketch", "draw"))
    assert len(sampled) == 1
    assert sketch is not None
    assert drawn is not None
    assert sketch["shape"] == drawn["shape"]
    assert sketch["voxels"] != drawn["voxels"]
    row = model.schema.validate(ROW)
    wanted = (model.generate([row], [(3,)])[0] >> 4).astype("u1").tobytes(order="F")
    assert base64.b64decode(drawn["voxels"]) == wanted


def test_a_model_that_draws_in_one_has_no_sketch(site: ModelSite) -> None:
    about_it = site.answer("about", {})
    assert about_it is not None
    assert about_it["sketches"] is False
    with pytest.raises(WrongAskedError, match="draws a volume in one"):
        site.answer("sketch", {"seed": 1, "covariates": ROW})


def test_what_is_beyond_the_training_is_told(site: ModelSite) -> None:
    drawn = site.answer("draw", {"seed": 1, "covariates": {**ROW, "age": 100}})
    assert drawn is not None
    assert drawn["beyond"][0].startswith("age 100, of ")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"seed": -1, "covariates": ROW},
        {"seed": True, "covariates": ROW},
        {"seed": 1.5, "covariates": ROW},
        {"seed": 1, "covariates": []},
        {"seed": 1, "covariates": {"age": 70}},
        {"seed": 1, "covariates": {**ROW, "height": 1}},
        {"seed": 1, "covariates": {**ROW, "sex": "X"}},
        {"seed": 1, "covariates": {**ROW, "age": 1e9}},
        {"seed": 1, "covariates": {**ROW, "age": "nan"}},
    ],
)
def test_what_cannot_be_asked_is_told(site: ModelSite, asked: dict[str, Any]) -> None:
    for key in ("draw", "measure"):
        with pytest.raises(WrongAskedError):
            site.answer(key, asked)


def test_what_is_measured_is_of_the_volume_that_was_drawn(
    site: ModelSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def measure(levels: np.ndarray, model: Any) -> dict[str, float]:
        seen.append(levels)
        return {"age": 66.0}

    monkeypatch.setattr(model_view, "measured", measure)
    asked = {"seed": 3, "covariates": ROW}
    assert site.answer("draw", asked)
    found = site.answer("measure", asked)
    assert found is not None
    assert found["found"] == {"age": 66.0}
    assert np.array_equal(
        seen[0], site._model.generate([site._model.schema.validate(ROW)], [(3,)])[0]
    )

    def refuse(levels: np.ndarray, model: Any) -> dict[str, float]:
        raise LdmError("no brain")

    monkeypatch.setattr(model_view, "measured", refuse)
    with pytest.raises(WrongAskedError, match="no brain"):
        site.answer("measure", asked)


def test_the_demo_model_is_described_without_its_weights() -> None:
    from ldm.loading import describe

    told = about(describe("demo"), "demo")
    assert told["demo"] is True
    assert {c["name"] for c in told["covariates"] if c["measured"]} == set(ROW)


def test_cores_that_others_use_are_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(6), raising=False)
    for load_average, expected in ((0.0, 6), (2.2, 4), (40.0, 1)):
        monkeypatch.setattr("os.getloadavg", lambda now=load_average: (now, now, now))
        assert idle_cores() == expected
