"""A release of an unconditional model, printed by a worker without Ray, and told as what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ray_jobs import cli
from ray_jobs.generation.finish import finish
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.start import Request, Work, assignment, begin, check, fields_of
from ray_jobs.generation.words import subject
from ray_jobs.generation.worker.environment import ONE_THREAD, Native
from ray_jobs.generation.worker.worker import Worker
from tests.ldm.tiny_gan import tiny_gan

N = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gan(tmp_path_factory.mktemp("model") / "gan")


def ordered(model: Path, out: Path, n: int = N) -> tuple[Request, Work]:
    request = check(Options(n=n, out=str(out), model=str(model), shard_size=4, batch_size=2))
    return request, begin(
        request, fields_of(request, device=Device.CPU, native=Native(precision="fp32"))
    )


@pytest.fixture(scope="module")
def release(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "release"
    request, work = ordered(model, out)
    with pytest.MonkeyPatch.context() as patch:
        for name in ONE_THREAD:
            patch.setenv(name, "1")
        worker = Worker(assignment(request, work), {})
        assert worker.load() is None
        for shard in work.pending:
            worker.print_shard(shard)
    assert finish(request, work, made=N, seconds=1) == 0
    return out


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a verb that ends well prints."""
    assert cli.main([*map(str, words)]) == 0, capsys.readouterr()
    return capsys.readouterr().out


def test_it_verifies_and_is_valid_bids(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "all is well: 6 images" in said(capsys, "verify", release)
    checker = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [checker, release, "--max-rows", "-1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_files_say_that_nothing_was_asked(release: Path) -> None:
    about = json.loads((release / "release.json").read_text())
    assert about["columns"] == []
    assert about["sampler"] == {"name": "one pass of the generator"}
    assert about["fields"]["covariates"] == "none"
    table = pd.read_csv(release / "participants.tsv", sep="\t")
    assert list(table.columns) == ["participant_id"]
    assert len(table) == N
    assert json.loads((release / "participants.json").read_text()) == {}
    text = (release / "README.md").read_text()
    assert "The model is unconditional" in text
    assert "Sampler: one pass of the generator. Release seed: 0." in text
    assert "asked to show, see" not in text
    assert "| column |" not in text
    assert [path.name for path in (release / "previews").iterdir()] == ["samples.png"]


def test_info_and_query_tell_it_and_the_example_in_its_readme_works(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(capsys, "info", release)
    assert "covariates   none: the model is unconditional" in told
    assert "sampler      one pass of the generator" in told
    rows = said(capsys, "query", release, "--where", "index < 3").splitlines()
    assert rows[0].split() == ["participant_id", "path"]
    assert len(rows) == 4
    assert '--where "index < 10"' in (release / "README.md").read_text()


def test_a_part_of_it_is_downloaded_and_verifies(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "download", release, tmp_path / "part", "--limit", 2)
    assert "all is well: 2 images" in said(capsys, "verify", tmp_path / "part")


def test_a_larger_release_has_the_same_first_volumes(
    model: Path, release: Path, tmp_path: Path
) -> None:
    request, work = ordered(model, tmp_path / "more", n=N + 3)
    worker = Worker(assignment(request, work), {})
    assert worker.load() is None
    for shard in work.pending:
        worker.print_shard(shard)
    for index in range(N):
        key = f"sub-{index:06d}/anat/sub-{index:06d}_T1w.nii.gz"
        assert (tmp_path / "more" / key).read_bytes() == (release / key).read_bytes()


def test_the_run_says_that_it_is_unconditional(model: Path, tmp_path: Path) -> None:
    request, _ = ordered(model, tmp_path / "release")
    assert subject(request) == (
        "6 volumes of 16 x 24 x 16 voxels, 10 mm: model tiny-gan, seed 0, unconditional, one pass"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "50"], "--steps 50: "),
        (["--sampler", "ddim"], "--sampler ddim: "),
        (["--fix", "age=70"], "'age': this model is unconditional, it has none"),
        (["--covariates", "uniform"], "--covariates uniform: this model is unconditional"),
        (["--covariates", "rows.csv"], "--covariates rows.csv: this model is unconditional"),
    ],
)
def test_what_only_other_models_take_is_refused_in_one_line(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    out = tmp_path / "release"
    code = cli.main(["generate", "--n", "2", "--model", str(model), "--out", str(out), *words])
    line = capsys.readouterr().err
    assert code == 2
    assert message in line
    assert len(line.splitlines()) == 1
    assert not out.exists()
