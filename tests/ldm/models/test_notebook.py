"""A model in a notebook: it says what it takes, completes it, and is quick on a busy machine."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm.gan.model import GanModel
from ldm.loading import load
from ldm.models import notebook
from ldm.models.latent_diffusion import Model
from ldm.models.notebook import few_threads
from tests.ldm.tiny_model import working_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    found = load(working_folder(tmp_path_factory), device="cpu", precision="fp32")
    assert isinstance(found, Model)
    return found


def test_a_model_says_what_it_takes(model: Model) -> None:
    told = repr(model)
    assert "working" in told.splitlines()[0]
    assert "on cpu" in told.splitlines()[0]
    assert "F or M" in told
    assert "year" in told
    line = told.splitlines()[-1]
    assert line.startswith("model.sample(sex='F', age=")
    image = eval(line, {"model": model})  # what it shows as an example runs
    assert image.shape == model.grid.shape


def test_a_notebook_shows_its_covariates_and_a_volume(model: Model) -> None:
    told = model._repr_html_()
    assert "<code>ventricular_volume</code>" in told
    assert "src='data:image/png;base64,iVBOR" in told


def test_a_card_of_strange_text_is_no_markup(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model), "name", "<script>alert(1)</script>")
    assert "<script>" not in model._repr_html_()


def test_covariates_complete_by_name(model: Model) -> None:
    assert list(model.covariates) == list(model.schema.names)
    assert model.covariates.age is model.schema["age"]
    assert model.covariates["age"].unit == "year"
    assert {"age", "sex"} <= set(dir(model.covariates))
    assert model.covariates._ipython_key_completions_() == list(model.schema.names)
    assert len(repr(model.covariates).splitlines()) == len(model.schema)
    with pytest.raises(AttributeError, match="no covariate 'aeg'; this model has sex, age"):
        _ = model.covariates.aeg


def test_named_arguments_are_those_of_the_very_model(model: Model) -> None:
    names = list(inspect.signature(model.sample).parameters)
    assert set(model.schema.names) < set(names)
    assert {"seed", "steps", "guidance"} < set(names)
    assert "covariates" not in names
    assert "covariates" in inspect.signature(Model.sample).parameters  # of the class: any
    assert "covariates" in inspect.signature(GanModel.sample).parameters
    assert "One volume" in (model.sample.__doc__ or "")


def test_a_value_beyond_the_training_data_is_warned_of_and_one_within_is_not(model: Model) -> None:
    high = model.schema["age"].maximum
    with pytest.warns(UserWarning, match=r"beyond what the model was trained on: age"):
        model.sample(age=min(high + 5, 119), steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.sample(age=high - 5, steps=2)


def test_a_small_volume_is_sampled_by_one_thread_as_a_worker_does(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    whole = Model.generate

    def generate(self: Model, *args: object, **options: object) -> np.ndarray:
        seen.append(torch.get_num_threads())
        return whole(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "generate", generate)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model.sample(seed=1, steps=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


@pytest.mark.parametrize(("load_", "expected"), [(0.0, 8), (5.4, 3), (30.0, 1)])
def test_a_large_volume_gets_the_cores_that_are_idle(
    model: Model, monkeypatch: pytest.MonkeyPatch, load_: float, expected: int
) -> None:
    monkeypatch.setattr(notebook, "SMALL", 10)
    monkeypatch.setattr(notebook.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(notebook.os, "getloadavg", lambda: (load_, 0, 0))
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        with few_threads(model):
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_without_pytorch_load_says_so_in_one_line() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import ldm\n"
        "try: ldm.load('demo')\n"
        "except ldm.LdmError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("ldm.load needs torch, which the light install leaves out;")
    assert done.stderr == ""


@pytest.mark.parametrize("package", ["ldm", "manifests", "ray_jobs"])
def test_types_reach_the_user(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
