"""Presets as files: written by a verb, given to the jobs, part of what a run is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ldm.training.presets import PRESETS, Preset, preset, preset_text
from ray_jobs.cli import parser_of
from ray_jobs.command_line import command_line
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.training.diffusion_job import _training
from ray_jobs.training.fitting.fit import Fitted
from tests.ray_jobs.line import (
    ended,
    refused,
    without_ray,
    write_autoencoder,
    write_latents,
    write_prepared,
)

JOBS = ("autoencoder", "diffusion")


class Begun(Exception):
    """A fit began."""


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each fit handed to its workers; none of them runs."""
    handed: list[dict[str, Any]] = []

    def fit(worker: object, spec: dict[str, Any], *rest: object) -> None:
        handed.append(json.loads(json.dumps(spec)))
        raise Begun

    without_ray(monkeypatch)
    for job in JOBS:
        monkeypatch.setattr(f"ray_jobs.training.{job}_job.fit", fit)
    from contextlib import nullcontext

    monkeypatch.setattr("ray_jobs.cluster.session", nullcontext)
    return handed


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, an autoencoder and latents."""
    folder = tmp_path_factory.mktemp("line")
    cohort = write_prepared(folder / "prepared")
    write_autoencoder(folder / "autoencoder")
    write_latents(folder / "latents", cohort, folder / "autoencoder")
    return folder


def write(folder: Path, part: str, **changes: Any) -> Path:
    """The tiny preset as a file, with fields of a part changed."""
    document = json.loads(preset_text(preset("tiny")))
    document[part] |= changes
    path = folder / "mine.json"
    path.write_text(json.dumps(document))
    return path


def words(job: str, line: Path, out: Path, chosen: object) -> list[object]:
    given = ["--cohort", line / "prepared"] if job == JOBS[0] else ["--latents", line / "latents"]
    return [f"train-{job}", *given, "--preset", chosen, "--out", out]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_printed_or_written_with_every_field(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, told = ended(capsys, "preset", name)
    assert (code, told) == (0, "")
    path = tmp_path / "mine.json"
    code, answer, _ = ended(capsys, "preset", name, "--out", path)
    assert (code, path.read_text()) == (0, said)
    assert answer.startswith(f"{path}: edit it, then give it to every job: --preset {path}\n")
    assert "next  brainpress prepare my-bids-cohort" in answer
    assert ended(capsys, "preset", path)[:2] == (0, said)


def test_a_file_that_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}")
    assert "mine.json is there already" in refused(capsys, "preset", "demo", "--out", path)
    assert path.read_text() == "{}"
    assert "expected a name that ends in .json" in refused(
        capsys, "preset", "demo", "--out", tmp_path / "mine"
    )
    assert "there is no folder" in refused(capsys, "preset", "demo", "--out", tmp_path / "a/b.json")
    assert "preset 'large': expected one of demo, lab, paper, tiny, or a file" in refused(
        capsys, "preset", "large"
    )


@pytest.mark.parametrize("job", JOBS)
def test_workers_are_handed_the_whole_preset_and_not_its_path(
    job: str, line: Path, tmp_path: Path, begun: list[dict[str, Any]]
) -> None:
    path = write(tmp_path, f"train_{job}", learning_rate=0.125)
    with pytest.raises(Begun):
        ended_without_capture(*words(job, line, tmp_path / "run", path))
    (spec,) = begun
    path.unlink()
    assert Preset.from_json(spec["preset"]).to_json() == {
        **preset("tiny").to_json(),
        "name": "mine.json",
        f"train_{job}": spec["preset"][f"train_{job}"],
    }
    assert spec["preset"][f"train_{job}"]["learning_rate"] == 0.125
    assert spec["config"]["learning_rate"] == 0.125
    assert str(tmp_path / "mine.json") not in json.dumps(spec)


@pytest.mark.parametrize("job", JOBS)
def test_an_edited_file_is_refused_for_a_begun_run_with_its_field(
    job: str, line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    path = write(tmp_path, f"train_{job}", seed=1)
    with pytest.raises(Begun):
        ended(capsys, *words(job, line, out, path))
    write(tmp_path, f"train_{job}", seed=1, learning_rate=0.125)
    told = refused(capsys, *words(job, line, out, path))
    assert "run holds another run: training.learning_rate 0.00" in told
    assert "-> 0.125" in told


def test_an_edited_network_is_refused_for_a_begun_run(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Begun):
        ended(capsys, *words("diffusion", line, out, write(tmp_path, "denoiser")))
    path = write(tmp_path, "denoiser", num_res_blocks=2)
    told = refused(capsys, *words("diffusion", line, out, path))
    assert "run holds another run: network.num_res_blocks 1 -> 2" in told
    path = write(tmp_path, "autoencoder", latent_channels=3)
    told = refused(capsys, *words("diffusion", line, out, path))
    assert "mine.json's: latent_channels 2, the preset has 3. Give the preset it was" in told


def test_a_card_and_its_command_say_which_file_it_was(line: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "denoiser", num_res_blocks=2)
    verb, *options = map(str, words("diffusion", line, tmp_path / "run", path))
    args = parser_of(verb).parse_args(options)
    assert command_line(verb, args).count("--preset mine.json") == 1
    chosen = preset(args.preset)
    latents = EncodedCohort.open(line / "latents")
    fitted = Fitted(weights={}, step=3, history=[], reached=3)
    told = _training(args, chosen, latents, chosen.train_diffusion, fitted)
    assert told["preset"] == "mine.json"
    assert told["preset_fields"]["denoiser"]["num_res_blocks"] == 2
    assert str(tmp_path) not in json.dumps(told)


def ended_without_capture(*words: object) -> None:
    from ray_jobs import cli

    cli.main([str(word) for word in words])
