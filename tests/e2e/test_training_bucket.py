"""The training line in a bucket from its BIDS folder to a release, on real Ray and a real S3."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from manifests.storage import open_store
from tests.e2e.running import job, started
from tests.e2e.training import PROMPT, TRAIN, last_line
from tests.ray_jobs.line import write_bids
from tests.servers import S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_line_works_in_a_bucket_alone_and_goes_on_from_another_machine(
    tmp_path: Path, s3: S3Server
) -> None:
    """Another machine has an empty cache; of a run it knows what the bucket says."""
    place = f"s3://{s3.make_bucket()}/lab"
    store = open_store(place)

    def on_machine(name: str) -> dict[str, str]:
        return {**PROMPT, **s3.environment(), "BRAINPRESS_CACHE": str(tmp_path / name)}

    words: dict[str, list[object]] = {
        "prepare": [
            write_bids(tmp_path / "bids", 12),
            *("--preset", "tiny", "--placement", "centre", "--validation", 0.25),
        ],
        "train-autoencoder": ["--cohort", f"{place}/prepare", *TRAIN, "--save-every", 2000],
        "encode-latents": [
            *("--cohort", f"{place}/prepare", "--autoencoder", f"{place}/train-autoencoder"),
            *("--preset", "tiny"),
        ],
        "train-diffusion": [
            *("--latents", f"{place}/encode-latents", "--preset", "tiny", "--license", "CC0-1.0"),
            *("--steps", 30, "--save-every", 15, "--cpus-per-worker", 1),
        ],
    }
    for verb, given in words.items():
        given += ["--out", f"{place}/{verb}"]
    words["train-autoencoder"][words["train-autoencoder"].index("--steps") + 1] = 4000

    def run(verb: str, machine: str, *more: object) -> str:
        done = job(verb, *words[verb], *more, extra=on_machine(machine))
        assert done.returncode == 0, f"{verb}: {done.stderr}"
        return done.stdout

    assert f"{place}/prepare: " in run("prepare", "one")
    with started(
        *words["train-autoencoder"], verb="train-autoencoder", extra=on_machine("one")
    ) as training:
        assert training.stderr is not None
        lines = []
        while "steps/s" not in (line := training.stderr.readline()):
            assert line, "".join(lines)
            lines.append(line)
        training.send_signal(signal.SIGTERM)
        _, told = training.communicate(timeout=200)
        assert training.returncode == 143, told
    reached = int(told.partition("stopped at step ")[2].split()[0])
    done = job(
        "train-autoencoder",
        *words["train-autoencoder"],
        *("--steps", reached + 10),
        extra=on_machine("two"),
    )
    assert done.returncode == 0, done.stderr
    assert f"goes on from step {reached}/{reached + 10}\n" in done.stderr
    for verb in ("encode-latents", "train-diffusion"):
        run(verb, "two")

    words["train-autoencoder"] += ["--steps", reached + 10]
    again = {verb: run(verb, "three") for verb in words}
    assert again["prepare"].splitlines()[0].startswith("12 subjects: 0 prepared now, 12 already")
    assert "12 subjects already encoded; nothing left to do" in again["encode-latents"]
    for verb in ("train-autoencoder", "train-diffusion"):
        assert "nothing left to do" in again[verb]
    for key in ("log.jsonl", "finished.json", "model/model.json", "previews/step-000030.png"):
        assert store.look(f"train-diffusion/{key}") is not None, key
    assert [entry.key for entry in store.list("train-diffusion/tensorboard/")]
    steps = [
        json.loads(line).get("step") for line in store.get("train-diffusion/log.jsonl").splitlines()
    ]
    assert steps[-1] == 30

    model = f"{place}/train-diffusion/model"
    printed = job(
        "generate", "--n", 2, "--model", model, "--steps", 4, "--out", f"{place}/release",
        extra=on_machine("three"),
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr

    other = job(
        "train-autoencoder", *words["train-autoencoder"], "--seed", 1, extra=on_machine("three")
    )
    assert other.returncode == 2
    assert f"{place}/train-autoencoder holds another run: training.seed 0 -> 1" in last_line(other)
