"""Curves sent to MLflow and Weights & Biases: by their own clients, into stores on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.errors import JobError
from ray_jobs.files import read_json
from ray_jobs.training.fitting.trackers import MLflow, open_trackers, parameters
from ray_jobs.work_folder import WorkFolder
from tests.e2e.running import wait_until

IDENTITY = {"kind": "autoencoder", "training": {"seed": 0, "precision": "bf16"}}


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return uri


def test_mlflow_has_the_curves_parameters_and_previews_of_a_run_that_went_on(
    tmp_path: Path, mlflow_store: str
) -> None:
    from mlflow import MlflowClient

    preview = tmp_path / "step-000002.png"
    preview.write_bytes(b"png")
    for step in (1, 2):
        (tracker,) = open_trackers(["mlflow"], WorkFolder(str(tmp_path)), IDENTITY)
        tracker.scalars({"train/loss": 1 / step, "validation/power_0.26_0.30": 0.5}, step)
        tracker.close()
    tracker.preview(preview, 2)
    client = MlflowClient()
    (experiment,) = [e for e in client.search_experiments() if e.name == "brainpress"]
    (run,) = client.search_runs([experiment.experiment_id])
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in losses] == [(1, 1.0), (2, 0.5)]
    assert run.data.params == parameters(IDENTITY)
    assert run.info.status == "FINISHED"
    (artifact,) = client.list_artifacts(run.info.run_id, "previews")
    assert artifact.path == "previews/step-000002.png"


def test_weights_and_biases_takes_a_run_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tracker,) = open_trackers(["wandb"], WorkFolder(str(tmp_path)), IDENTITY)
    tracker.scalars({"train/loss": 0.25}, 7)
    tracker.close()
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert tracker.run in written.name
    wait_until(lambda: b"train/loss" in written.read_bytes(), "the curve in its file")
    assert read_json(tmp_path / "trackers.json") == {"wandb": tracker.run}


def test_a_server_that_is_lost_costs_a_line_and_no_training(
    tmp_path: Path,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tracker,) = open_trackers(["mlflow"], WorkFolder(str(tmp_path)), IDENTITY)

    def lost(*_: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(MLflow, "send", lost)
    for step in range(3):
        tracker.scalars({"loss": 0.5}, step)
        tracker.preview(tmp_path / "none.png", step)
    assert capsys.readouterr().err == (
        "MLflow does not take this run's curves (no route to host); the training goes on, and "
        "TensorBoard has them\n"
    )


def test_one_that_cannot_begin_is_refused_before_the_training(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(JobError, match=r"--track mlflow: .*; set what it needs, or leave it out"):
        open_trackers(["mlflow"], WorkFolder(str(tmp_path)), IDENTITY)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(JobError, match="wandb is not installed; pip install 'brainpress"):
        open_trackers(["wandb"], WorkFolder(str(tmp_path)), IDENTITY)
