"""Trainings on real Ray that go wrong or on: deaths, two workers, earlier weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from manifests.storage import open_store
from tests.e2e.running import (
    RayHead,
    alive,
    descendants,
    job,
    kill,
    named,
    started,
    wait_until,
)
from tests.e2e.training import (
    CHECKPOINT_LIST,
    PROMPT,
    checkpoints,
    document,
    history,
    last_line,
    log,
    on,
    training,
    weights,
)
from tests.ray_jobs.line import write_prepared
from tests.servers import S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def trained(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `prepared` cohort and an `autoencoder` that nobody disturbed."""
    folder = tmp_path_factory.mktemp("trained")
    cohort = write_prepared(folder / "prepared").folder
    done = job("train-autoencoder", *training(cohort, folder / "autoencoder"), extra=on(head))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_killed_worker_and_later_a_killed_driver_change_no_bit_of_the_end(
    trained: Path, tmp_path: Path
) -> None:
    """On a Ray of the run's own, as on a laptop."""
    out = tmp_path / "run"
    words = training(trained / "prepared", out)
    with started(*words, verb="train-autoencoder", extra=PROMPT) as run:
        wait_until(lambda: checkpoints(out), "a first checkpoint")
        workers = named(descendants(run.pid), "ray::RayTrainWorker")
        assert len(workers) == 1
        kill(workers[0])
        reached = checkpoints(out)
        wait_until(lambda: checkpoints(out) > reached, "a checkpoint of the next worker")
        assert log(out).count("resumed") == 1
        tree = descendants(run.pid)
        training_ones = named(tree, "ray::RayTrainWorker") + named(tree, "ray::TrainController")
        assert len(training_ones) == 2
        assert not set(workers) & set(training_ones)
        assert checkpoints(out) < 4
        kill(run.pid)
        wait_until(lambda: not alive(training_ones), "the end of a dead driver's worker")
        for pid in tree:  # Ray's agents look for their parent once a minute only
            kill(pid)
    assert not (out / "finished.json").exists()

    again = job("train-autoencoder", *words, extra=PROMPT)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("goes on from step ") == 1
    assert log(out).count("resumed") == 2
    assert weights(out) == weights(trained / "autoencoder")
    assert history(out) == history(trained / "autoencoder")


@pytest.mark.slow
def test_a_driver_that_died_before_the_result_was_written_writes_it_without_training(
    head: RayHead, trained: Path, tmp_path: Path
) -> None:
    """And Ray Train's list of checkpoints was torn, which it writes in place."""
    out = tmp_path / "run"
    shutil.copytree(trained / "autoencoder", out)
    shutil.rmtree(out / "autoencoder")
    (out / "finished.json").unlink()
    (listed,) = out.glob(f"checkpoints/*/{CHECKPOINT_LIST}")
    os.truncate(listed, 300)
    before = log(out).count("validation")
    done = job("train-autoencoder", *training(trained / "prepared", out), extra=on(head))
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("goes on from step 60/60\n")
    assert log(out).count("validation") == before
    assert weights(out) == weights(trained / "autoencoder")
    assert history(out) == history(trained / "autoencoder")


def test_two_workers_in_a_bucket_give_the_losses_of_one_and_one_goes_on(
    head: RayHead, trained: Path, tmp_path: Path, s3: S3Server
) -> None:
    """On half the workers each has more samples, and computes fewer at once; it is on another
    machine too, for all that is kept is in the bucket."""
    place = f"s3://{s3.make_bucket()}/lab"
    store = open_store(place)
    for path in (trained / "prepared").rglob("*.*"):
        store.put_file(f"prepared/{path.relative_to(trained / 'prepared').as_posix()}", path)
    words = training(f"{place}/prepared", f"{place}/run")
    variables = {**on(head), **s3.environment()}

    def kept() -> list[dict[str, float]]:
        told = json.loads(store.get("run/autoencoder/autoencoder.json"))
        found: list[dict[str, float]] = told["training"]["history"]
        return found

    done = job("train-autoencoder", *words, "--steps", 30, "--workers", 2, extra=variables)
    assert done.returncode == 0, done.stderr
    alone, together = history(trained / "autoencoder")[:2], kept()
    assert [entry["step"] for entry in together] == [15, 30]
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        for figure, value in one.items():
            # An excess of kurtosis is a difference from 3, and may lie near 0.
            near = 3e-3 if figure.startswith("kurtosis") else None
            assert value == pytest.approx(two[figure], rel=1e-3, abs=near), figure
    assert store.look("run/previews/step-000030.png") is not None
    variables |= {"BRAINPRESS_CACHE": str(tmp_path / "another")}
    done = job("train-autoencoder", *words, "--steps", 32, "--micro-batch", 1, extra=variables)
    assert done.returncode == 0, done.stderr
    assert "goes on from step 30/32" in done.stderr
    assert kept()[:2] == together


@pytest.mark.slow
def test_a_training_that_fails_for_good_ends_with_the_cause_in_one_line(
    head: RayHead, trained: Path, tmp_path: Path
) -> None:
    words = training(
        trained / "prepared", tmp_path / "run", "--learning-rate", 1e30, "--retries", 0
    )
    done = job("train-autoencoder", *words, extra=on(head))
    assert done.returncode == 1
    assert last_line(done).startswith(
        "brainpress train-autoencoder: training stopped after 0 retries: step "
    )
    assert "lower --learning-rate or use --precision fp32. Its checkpoints are in " in (
        last_line(done)
    )
    assert done.stderr.startswith("worker 0: step ")
    (kept,) = (tmp_path / "run" / "failures").iterdir()
    assert "Traceback" in kept.read_text()  # whose lines are no sentence for a terminal


@pytest.mark.slow
def test_all_terms_of_the_loss_from_earlier_weights_on_two_workers(
    head: RayHead, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = training(trained / "prepared", out, "--steps", 6, "--save-every", 3, "--workers", 2)
    words += [
        "--from",
        trained / "autoencoder",
        "--perceptual-weight",
        0.1,
        "--perceptual",
        "cohort",
    ]
    words += ["--adversarial-weight", 0.05, "--adversarial-from", 3, "--activation-checkpointing"]
    done = job("train-autoencoder", *words, extra=on(head))
    assert done.returncode == 0, done.stderr
    first, last = history(out)
    terms = {"train_l1", "train_kl", "train_perceptual"}
    assert terms < first.keys()
    assert {*terms, "train_adversarial", "train_critic loss"} < last.keys()
    assert "train_adversarial" not in first
    assert last["psnr"] == pytest.approx(history(trained / "autoencoder")[-1]["psnr"], abs=3)
    training_card = document(out / "autoencoder" / "autoencoder.json")["training"]
    assert (training_card["perceptual"], training_card["from"]["name"]) == ("cohort", "autoencoder")
    assert "--perceptual cohort --from autoencoder" in training_card["command"]
    features = (out / "perceptual" / "features.safetensors").stat()
    again = job("train-autoencoder", *words, extra=on(head))
    assert again.stdout.startswith(f"{out}: already trained for 6 steps; nothing left to do\n")
    (out / "finished.json").unlink()  # as if the driver had died at the end
    assert job("train-autoencoder", *words, extra=on(head)).returncode == 0
    assert (out / "perceptual" / "features.safetensors").stat().st_mtime == features.st_mtime
