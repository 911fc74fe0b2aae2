"""The training jobs before and after Ray: options, what counts as finished, wrong inputs."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest

from ldm.training.presets import PRESETS, tiny
from ray_jobs import cli
from ray_jobs.cluster import cause, failed_worker
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.files import read_json
from ray_jobs.training.conditions import cohort_distribution as fit_distribution
from ray_jobs.training.diffusion_job import preview_covariate, preview_rows
from ray_jobs.training.fitting.identity import is_finished, mark_finished
from ray_jobs.training.options import configure
from ray_jobs.work_folder import WorkFolder
from tests.ray_jobs.line import (
    ended,
    refused,
    without_ray,
    write_autoencoder,
    write_latents,
    write_prepared,
)

TRAINING = ("train-autoencoder", "train-diffusion")


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    monkeypatch.setattr("ray_jobs.cluster.session", lambda: pytest.fail("Ray began"))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, an autoencoder and latents."""
    folder = tmp_path_factory.mktemp("line")
    cohort = write_prepared(folder / "prepared")
    write_autoencoder(folder / "autoencoder")
    write_latents(folder / "latents", cohort, folder / "autoencoder")
    return folder


def options(*words: str) -> argparse.Namespace:
    return cli.parser_of("train-autoencoder").parse_args(["--cohort=p", "--out=o", *words])


def command(verb: str, line: Path, out: Path, *words: object) -> list[object]:
    source = {"train-autoencoder": ["--cohort", line / "prepared"]}
    given = source.get(verb, ["--latents", line / "latents"])
    return [verb, *given, "--preset", "tiny", "--out", out, *words]


# ------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("name", PRESETS)
def test_without_options_a_run_is_the_presets(name: str) -> None:
    preset = PRESETS[name]()
    for base in (preset.train_autoencoder, preset.train_diffusion):
        assert configure(base, options()) == base


def test_every_number_of_the_preset_that_is_an_option_is_overridden() -> None:
    config = configure(
        tiny().train_autoencoder,
        options(
            *("--steps", "7", "--batch-size", "6", "--learning-rate", "5e-4", "--micro-batch", "2"),
            *("--save-every", "3", "--seed", "9", "--precision", "bf16", "--workers", "3"),
        ),
    )
    assert (config.steps, config.batch_size, config.learning_rate) == (7, 6, 5e-4)
    assert (config.micro_batch, config.save_every) == (2, 3)
    assert (config.seed, config.precision) == (9, "bf16")
    assert config.kl_weight == tiny().train_autoencoder.kl_weight


def test_how_long_and_how_often_saved_does_not_make_another_run() -> None:
    base = tiny().train_autoencoder
    assert configure(base, options("--steps=99", "--save-every=1")).identity() == base.identity()
    for word in ("--seed=1", "--batch-size=8", "--learning-rate=1", "--precision=bf16"):
        assert configure(base, options(word)).identity() != base.identity()


@pytest.mark.parametrize("verb", TRAINING)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "--steps 0: expected at least 1"),
        (["--steps", "-3"], "--steps -3: expected at least 1"),
        (["--steps", "many"], "--steps: invalid int value: 'many'"),
        (["--batch-size", "0"], "--batch-size 0: expected at least 1"),
        (["--batch-size", "2", "--workers", "3"], "--batch-size 2 is less than --workers 3"),
        (["--workers", "2", "--min-workers", "3"], "--min-workers 3: expected 1 to --workers 2"),
        (["--worker-patience", "0"], "--worker-patience 0: expected above 0"),
        (["--keep", "0"], "--keep 0: expected at least 1"),
        (["--save-minutes", "nan"], "--save-minutes nan: expected above 0"),
        (["--take", "first"], "--take first: expected last, best or the number of a step"),
        (["--workers", "0"], "--workers 0: expected at least 1"),
        (["--cpus-per-worker", "0"], "--cpus-per-worker 0: expected at least 1"),
        (["--micro-batch", "-1"], "--micro-batch -1: expected at least 0"),
        (["--save-every", "0"], "--save-every 0: expected at least 1"),
        (["--retries", "-1"], "--retries -1: expected at least 0"),
        (["--seed", "-1"], "--seed -1: expected at least 0"),
        (["--learning-rate", "0"], "learning_rate 0.0: expected a positive number"),
        (["--learning-rate", "nan"], "learning_rate nan: expected a positive number"),
        (["--precision", "fp16"], "precision 'fp16': expected one of ('bf16', 'fp32')"),
        (["--preset", "large"], "preset 'large': expected one of demo, lab, paper, tiny"),
        (["--batchsize", "4"], "unknown option '--batchsize'; did you mean '--batch-size'?"),
    ],
)
def test_a_wrong_option_gets_one_line_and_exit_2(
    verb: str,
    line: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    out = tmp_path / "run"
    assert message in refused(capsys, *command(verb, line, out, *words))
    assert not out.exists()


# -------------------------------------------------------------------------------------- inputs


def test_a_cohort_of_another_grid_is_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-autoencoder", line, tmp_path / "run", "--preset", "demo")
    told = refused(capsys, *words)
    assert "prepared is prepared at (16, 24, 16), 10 mm; preset demo wants (64, 80, 64)" in told
    assert told.endswith("Prepare it with --preset demo\n")


def test_a_cohort_without_held_out_subjects_is_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_prepared(tmp_path / "all").table.assign(split="train")
    write_prepared(tmp_path / "none", table=table)
    words = command("train-autoencoder", line, tmp_path / "run", "--cohort", tmp_path / "none")
    assert "none has 12 subjects to train on and 0 held out; expected at least one of each. " in (
        refused(capsys, *words)
    )


def test_a_folder_without_a_cohort_or_latents_is_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-autoencoder", line, tmp_path / "run", "--cohort", tmp_path)
    assert "holds no complete prepared cohort (no cohort.json); run brainpress prepare" in refused(
        capsys, *words
    )
    words = command("train-diffusion", line, tmp_path / "run", "--latents", line / "prepared")
    assert "holds no complete latents (no latents.json); run brainpress encode-latents" in refused(
        capsys, *words
    )


def test_latents_of_another_preset_are_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-diffusion", line, tmp_path / "run", "--preset", "demo")
    told = refused(capsys, *words)
    assert "was encoded by another autoencoder than preset demo's: channels (8, 8), the" in told
    assert told.endswith("Give the preset it was trained with\n")


def test_a_preview_of_no_covariate_or_of_levels_is_refused(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-diffusion", line, tmp_path / "run")
    assert "unknown covariate 'agee': did you mean age?" in refused(
        capsys, *words, "--preview", "agee"
    )
    assert "--preview sex: expected a covariate whose values are numbers" in refused(
        capsys, *words, "--preview", "sex"
    )


def test_too_few_subjects_for_a_distribution_are_told_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_prepared(tmp_path / "prepared", count=7)
    write_autoencoder(tmp_path / "autoencoder")
    write_latents(tmp_path / "latents", cohort, tmp_path / "autoencoder")
    told = refused(capsys, *command("train-diffusion", tmp_path, tmp_path / "run"))
    assert "a cohort of 7 subjects: expected at least 8 to fit a distribution" in told


@pytest.mark.parametrize("verb", TRAINING)
def test_another_run_in_the_same_out_is_refused_by_its_field(
    verb: str, line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(pytest.fail.Exception, match="Ray began"):
        ended(capsys, *command(verb, line, out))
    begun = read_json(out / "run.json")
    assert begun is not None
    for words, field in (
        (["--learning-rate", "0.5"], "training.learning_rate 0.00"),
        (["--seed", "3"], "training.seed 0 -> 3"),
    ):
        told = refused(capsys, *command(verb, line, out, *words))
        assert f"run holds another run: {field}" in told
        assert "Use its options again, or another --out" in told
        assert len(told) < 250
    other = TRAINING[verb == TRAINING[0]]
    assert "kind " in refused(capsys, *command(other, line, out))
    assert read_json(out / "run.json") == begun
    with pytest.raises(pytest.fail.Exception, match="Ray began"):
        ended(capsys, *command(verb, line, out, "--steps", 99, "--workers", 2, "--retries", 0))


def test_a_run_begun_before_the_kl_term_was_a_sum_goes_on_at_its_weight_alone(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was 1e-5 as a mean over the 192 values of a latent, and that is what run.json has."""
    out = tmp_path / "run"
    with pytest.raises(pytest.fail.Exception, match="Ray began"):
        ended(capsys, *command("train-autoencoder", line, out))
    begun = read_json(out / "run.json")
    assert begun is not None
    assert begun["training"]["kl_weight"] == 1e-5
    told = refused(capsys, *command("train-autoencoder", line, out, "--kl-weight", "1e-5"))
    assert "training.kl_weight 1e-05 -> 0.00192" in told


# ----------------------------------------------------------------------------------- the finish


def test_a_run_is_finished_once_its_result_is_there_for_as_many_steps(tmp_path: Path) -> None:
    out, card = WorkFolder(str(tmp_path)), {"license": "CC0-1.0"}

    def finished(steps: int, told: dict[str, Any] | None = card, take: str = "last") -> bool:
        return is_finished(out, "model.json", steps, told, take)

    assert not finished(20)
    mark_finished(out, 20, card)
    assert not finished(20)  # the result was removed
    (tmp_path / "model.json").touch()
    assert finished(20)
    assert finished(10)
    assert not finished(21)
    assert not finished(20, {"license": "CC-BY-4.0"})  # the card must say so
    assert not finished(20, take="best")


def test_a_finished_run_says_so_without_ray(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(line / "autoencoder", out)
    mark_finished(WorkFolder(str(out)), 20, None)
    code, said, told = ended(capsys, *command("train-autoencoder", line, out))
    assert (code, told) == (0, "")
    assert said.startswith(f"{out}: already trained for 20 steps; nothing left to do\n")
    with pytest.raises(pytest.fail.Exception, match="Ray began"):
        ended(capsys, *command("train-autoencoder", line, out, "--steps", 21))


# ------------------------------------------------------------------------------- what it tells


def test_the_innermost_cause_is_told() -> None:
    class Layered(Exception):
        cause: Exception

    error = Layered("ray::train()\nTraceback (most recent call last):\n  File x\nLayered: no")
    error.cause = ValueError("the loss is nan\n")
    assert cause(error) == "the loss is nan"
    text = "Traceback\nValueError: cut short\n\nThe above exception was the direct cause of\nretry?"
    assert cause(RuntimeError(text)) == "ValueError: cut short"
    group = RuntimeError("2 workers failed")
    group.worker_failures = {1: KeyError("volume")}  # type: ignore[attr-defined]
    assert (cause(group), failed_worker(group)) == ("'volume'", 1)
    assert failed_worker(error) is None
    assert cause(MemoryError()) == "MemoryError"


def test_a_preview_is_one_person_with_one_covariate_rising(line: Path) -> None:
    latents = EncodedCohort.open(line / "latents")
    name = preview_covariate(latents.schema, None)
    assert name == "ventricular_volume"
    rows = preview_rows(fit_distribution(latents), latents.schema, name)
    values = [row.pop(name) for row in rows]
    assert values == sorted(set(values))
    assert all(row == rows[0] for row in rows)
    assert preview_covariate(latents.schema, "age") == "age"
