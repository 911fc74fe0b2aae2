"""How `generate` samples: options settled, told in the plan and the release, and old plans kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ldm.diffusion.config import DEFAULT_STEPS, Sampling
from ldm.errors import LdmError
from ldm.models.description import CONFIG
from ldm.models.latent_diffusion import save
from ldm.networks import Denoiser
from manifests.storage import open_store
from ray_jobs.errors import JobError
from ray_jobs.generation.finish import finish, read_volume
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.recipe import settled
from ray_jobs.generation.start import Request, Work, assignment, begin, check, fields_of
from ray_jobs.generation.words import subject
from ray_jobs.generation.worker.environment import ONE_THREAD, Native
from ray_jobs.generation.worker.worker import Worker
from tests.ldm.tiny_model import PRESET, networks, working_model

# The fields of a plan before there were guidance and samplers other than ddim and ddpm.
OLD_FIELDS = {
    *("model", "model_fingerprint", "schema", "sampler", "steps", "eta", "seed", "covariates"),
    *("fixed", "attempts", "device", "precision", "batch_size", "shard_size"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose denoiser knows what dropped conditions read, and whose volumes pass."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    description = working_model(folder)
    torch.manual_seed(0)
    denoiser = Denoiser(replace(PRESET.denoiser, null_condition=0.0))
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    known = replace(description, denoiser=denoiser.config.to_json())
    save(folder, known, networks()[0], denoiser)
    return folder


def recommending(model: Path, folder: Path, **how: Any) -> Path:
    """A copy of a model that says how it is best sampled."""
    shutil.copytree(model, folder)
    document = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**document, "sampling": how}))
    return folder


def ordered(model: Path, out: Path, **how: Any) -> tuple[Request, Work]:
    options = Options(n=2, out=str(out), model=str(model), shard_size=2, batch_size=2, **how)
    request = check(options)
    return request, begin(
        request, fields_of(request, device=Device.CPU, native=Native(precision="fp32"))
    )


def printed(model: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> dict[str, Any]:
    """The release.json of a release printed by one worker without Ray."""
    request, work = ordered(model, out, attempts=1, **how)
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "1")
    worker = Worker(assignment(request, work), {})
    assert worker.load() is None
    worker.print_shard(0)
    finish(request, work, made=2, seconds=1)
    return json.loads((out / "release.json").read_text())


def test_what_is_left_out_is_the_sampler_s_own() -> None:
    options = Options(n=1, out="release")
    for sampler, steps in DEFAULT_STEPS.items():
        found = settled(replace(options, sampler=sampler), Sampling(), one_pass=False)
        assert (found.sampler, found.steps, found.eta, found.guidance) == (sampler, steps, 0.0, 1.0)
    found = settled(options, Sampling(), one_pass=False)
    assert (found.sampler, found.steps) == ("ddim", 50)


def test_what_is_left_out_is_what_the_model_recommends(model: Path, tmp_path: Path) -> None:
    best = {"sampler": "unipc", "steps": 7, "guidance": 1.5}
    better = recommending(model, tmp_path / "model", **best)
    for given, expected in (
        ({}, ("unipc", 7, 0.0, 1.5)),
        ({"steps": 9}, ("unipc", 9, 0.0, 1.5)),
        ({"guidance": 1.0}, ("unipc", 7, 0.0, 1.0)),
        ({"sampler": "ddim"}, ("ddim", 50, 0.0, 1.5)),
    ):
        fields = ordered(better, tmp_path / f"{given}", **given)[1].fields
        found = (fields["sampler"], fields["steps"], fields["eta"], fields.get("guidance", 1.0))
        assert found == expected


def test_a_release_goes_on_as_it_was_begun_whatever_the_model_recommends_since(
    model: Path, tmp_path: Path
) -> None:
    _, before = ordered(model, tmp_path / "out", sampler="dpm++2m")
    better = recommending(model, tmp_path / "model", sampler="unipc", guidance=1.5)
    _, after = ordered(better, tmp_path / "out")
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "how",
    [{"steps": "7"}, {"steps": 0}, {"guidance": -1}, {"sampler": "best"}, {"speed": 1}, [1], None],
)
def test_a_recommendation_that_is_none_is_told(model: Path, tmp_path: Path, how: Any) -> None:
    folder = recommending(model, tmp_path / "model")
    document = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**document, "sampling": how}))
    with pytest.raises(LdmError, match=r"model\.json is damaged") as caught:
        check(Options(n=1, out=str(tmp_path / "out"), model=str(folder)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sampler": "unipc", "eta": 0.5}, "eta 0.5 with sampler unipc: only ddim takes an eta"),
        ({"eta": 2.0}, "eta 2: expected 0"),
        ({"guidance": -1.0}, "guidance -1: expected 0"),
        ({"guidance": 0.0}, "--guidance 0: it leaves the covariates out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises((JobError, LdmError), match=message) as caught:
        settled(Options(n=1, out="release", **how), Sampling(), one_pass=False)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("how", [{"eta": 0.5}, {"guidance": 2.0}, {"sampler": "unipc"}])
def test_a_gan_takes_none_of_them(how: dict[str, Any]) -> None:
    with pytest.raises(JobError, match="is a GAN, which makes a volume in one pass"):
        settled(Options(n=1, out="release", **how), Sampling(), one_pass=True)


def test_guidance_of_a_model_not_trained_for_it_is_refused_before_any_worker_starts(
    tmp_path: Path,
) -> None:
    working_model(tmp_path / "model")
    with pytest.raises(JobError, match=r"--guidance 3: .* train with --condition-dropout"):
        check(Options(n=1, out=str(tmp_path / "out"), model=str(tmp_path / "model"), guidance=3.0))


def test_a_plan_without_guidance_is_as_it_was_before_there_was_any(
    model: Path, tmp_path: Path
) -> None:
    _, work = ordered(model, tmp_path / "ddim")
    assert set(work.fields) == OLD_FIELDS
    assert (work.fields["sampler"], work.fields["steps"], work.fields["eta"]) == ("ddim", 50, 0.0)
    _, work = ordered(model, tmp_path / "ddpm", sampler="ddpm", steps=1000)
    assert set(work.fields) == OLD_FIELDS
    assert work.fields["eta"] == 1.0


def test_sampler_eta_and_guidance_are_part_of_the_plan(model: Path, tmp_path: Path) -> None:
    hows: list[dict[str, Any]] = [{}, {"sampler": "unipc"}, {"eta": 0.5}, {"guidance": 2.0}]
    works = [ordered(model, tmp_path / str(i), **how)[1] for i, how in enumerate(hows)]
    assert len({work.fingerprint for work in works}) == len(hows)


def test_a_guided_release_says_so_and_its_volumes_are_others(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hows: dict[str, dict[str, Any]] = {
        "plain": {"steps": 3},
        "eta": {"steps": 3, "eta": 0.5, "guidance": 2.5},
    }
    told = {name: printed(model, tmp_path / name, monkeypatch, **how) for name, how in hows.items()}
    assert told["plain"]["sampler"] == {"name": "ddim", "steps": 3, "eta": 0.0}
    assert told["eta"]["sampler"] == {"name": "ddim", "steps": 3, "eta": 0.5, "guidance": 2.5}
    request, _ = ordered(model, tmp_path / "eta", attempts=1, **hows["eta"])
    assert subject(request).endswith("3 ddim steps, eta 0.5, guidance 2.5")
    assert "guidance 2.5" in (tmp_path / "eta" / "README.md").read_text()
    path = "sub-000000/anat/sub-000000_T1w.nii.gz"
    volumes = [read_volume(open_store(tmp_path / name), path) for name in hows]
    assert not np.array_equal(*volumes)
