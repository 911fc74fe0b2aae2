"""Trainings on real Ray that somebody stops, that two commands want, and that have a best step."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.running import RayHead, descendants, job, named, started, wait_until
from tests.e2e.training import (
    PROMPT,
    document,
    history,
    kept_steps,
    last_line,
    log,
    on,
    training,
    weights,
)
from tests.ray_jobs.line import write_prepared

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LONG = ("--steps", 4000, "--save-every", 2000)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("stops") / "prepared").folder


def stopped_step(told: str) -> int:
    """The step at which a run says that it was stopped."""
    return int(told.partition("stopped at step ")[2].split()[0])


def test_ctrl_c_and_sigterm_save_a_checkpoint_and_the_same_command_goes_on(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    """Ctrl-C to the whole process group with a Ray of the run's own, as a terminal sends it."""
    out = tmp_path / "run"
    words = training(prepared, out, *LONG)
    ways = ((signal.SIGINT, 130, PROMPT), (signal.SIGTERM, 143, on(head)))
    reached = 0
    for number, code, extra in ways:
        with started(*words, verb="train-autoencoder", extra=extra) as run:
            assert run.stderr is not None
            lines = []
            while "steps/s" not in (line := run.stderr.readline()):
                assert line, "".join(lines)
                lines.append(line)
            if number == signal.SIGINT:
                os.killpg(run.pid, number)
            else:
                run.send_signal(number)
            _, told = run.communicate(timeout=120)
            assert run.returncode == code, told
        assert "Traceback" not in told
        assert told.splitlines()[-1].endswith(
            " of 4000; its checkpoint is kept; the same command goes on from there"
        )
        assert lines[0] == "starting 1 worker ...\n"
        assert lines[1].partition("Z  ")[2].startswith("training: autoencoder, ")
        assert (f"goes on from step {reached}/4000\n" in "".join(lines)) is bool(reached)
        assert stopped_step(told) > reached
        reached = stopped_step(told)
        assert kept_steps(out)[-1] == reached

    steps = reached + 20  # the run's end, asked for earlier: the same for a run that none disturbed
    for folder in (out, tmp_path / "calm"):
        done = job(
            "train-autoencoder",
            *training(prepared, folder, *LONG, "--steps", steps),
            extra=on(head),
        )
        assert done.returncode == 0, done.stderr
    assert weights(out) == weights(tmp_path / "calm")
    assert history(out) == history(tmp_path / "calm")


def test_of_two_commands_into_one_folder_the_second_is_refused(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = training(prepared, out, *LONG)
    with started(*words, verb="train-autoencoder", extra=on(head)) as first:
        wait_until(lambda: (out / "log.jsonl").exists(), "its record")
        second = job("train-autoencoder", *words, extra=on(head))
        assert second.returncode == 1
        assert f"{out} is being changed: `brainpress train` of " in last_line(second)
        assert first.poll() is None
        first.kill()
        first.communicate()
    done = job("train-autoencoder", *training(prepared, out, "--steps", 5), extra=on(head))
    assert done.returncode == 0, done.stderr  # a dead one's claim is nobody's


@pytest.mark.slow
def test_the_best_checkpoints_are_kept_and_any_of_them_becomes_the_result(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = training(prepared, out, "--steps", 40, "--save-every", 5, "--keep", 3)

    def taken(*more: object) -> tuple[int, bytes]:
        done = job("train-autoencoder", *words, *more, extra=on(head))
        assert done.returncode == 0, done.stderr
        found = document(out / "autoencoder" / "autoencoder.json")["training"]
        return found["steps"], weights(out)

    _, last = taken()
    found = {int(entry["step"]): entry["l1"] for entry in history(out)}
    best = sorted(found, key=lambda step: found[step])[:3]
    assert kept_steps(out) == sorted({*best, 40})

    assert taken("--take", "best")[0] == best[0]
    other = next(step for step in best if step != 40)
    step, weights_then = taken("--take", other)
    assert (step, weights_then != last) == (other, True)
    refused = job("train-autoencoder", *words, "--take", 1, extra=on(head))
    assert refused.returncode == 2
    told = ", ".join(map(str, kept_steps(out)))
    assert f"--take 1: validated and kept are the checkpoints of steps {told}; choose" in (
        last_line(refused)
    )
    assert taken() == (40, last)


@pytest.mark.slow
def test_a_checkpoint_is_saved_by_time_between_validations(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = training(prepared, out, *LONG, "--save-minutes", 0.02)
    with started(*words, verb="train-autoencoder", extra=on(head)) as run:
        wait_until(lambda: kept_steps(out), "a first checkpoint")
        assert kept_steps(out)[0] < 2000
        run.kill()
        run.communicate()
    done = job("train-autoencoder", *words, "--steps", 2000, extra=on(head))
    assert done.returncode == 0, done.stderr
    assert any("resumed" in json.loads(line) for line in log(out).splitlines())


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_and_the_workers_start_again(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    """SIGSTOP of one of two, as of a GPU that answers no more: its peer waits, raising nothing."""
    out = tmp_path / "run"
    words = training(prepared, out, "--steps", 150, "--save-every", 50, "--workers", 2)
    words += ["--worker-patience", 12]
    with started(*words, verb="train-autoencoder", extra=on(head)) as run:
        wait_until(lambda: kept_steps(out), "a first checkpoint")
        workers = named(descendants(head.process.pid), "ray::RayTrainWorker")
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGSTOP)
        _, told = run.communicate(timeout=300)
        assert run.returncode == 0, told
    (line,) = [line for line in told.splitlines() if "no worker comes further" in line]
    assert "gives no sign at step " in line
    assert "goes on from step " in told
    assert history(out)[-1]["step"] == 150


@pytest.mark.slow
def test_a_training_begins_with_fewer_workers_than_it_may_have(
    head: RayHead, prepared: Path, tmp_path: Path
) -> None:
    """Nine are asked for where there is room for three: each then has another share of the batch,
    which divides by neither number."""
    out = tmp_path / "run"
    options = ("--steps", 10, "--save-every", 5, "--batch-size", 10)
    words = training(prepared, out, *options)
    alone = training(prepared, tmp_path / "alone", *options)
    done = job("train-autoencoder", *alone, extra=on(head))
    assert done.returncode == 0, done.stderr
    done = job("train-autoencoder", *words, "--workers", 9, "--min-workers", 2, extra=on(head))
    assert done.returncode == 0, done.stderr
    for one, many in zip(history(tmp_path / "alone"), history(out), strict=True):
        assert many == pytest.approx(one, rel=2e-2)
