"""The curves of a run where people look for them: MLflow and Weights & Biases, beside TensorBoard.

They are told by the driver, so that no worker needs their packages, settings or a way to them. A
server that is away costs curves and no step.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ray_jobs.errors import JobError
from ray_jobs.files import read_json, write_json
from ray_jobs.work_folder import WorkFolder

MLFLOW, WANDB = "mlflow", "wandb"
PROJECT = "brainpress"  # where MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT names none
FILE = "trackers.json"
FLUSH_SECONDS = 5.0
MOST = 500  # metrics in one request, of which MLflow takes 1,000


def open_trackers(
    names: Sequence[str], out: WorkFolder, identity: dict[str, Any]
) -> tuple[Tracker, ...]:
    """The trackers of a run, which go on with what an earlier command began there.

    Args:
        names: of `MLFLOW` and `WANDB`.
        identity: of the run, its parameters there.

    Raises:
        JobError: one that is not installed or does not answer.
    """
    begun = read_json(out.fetch(FILE)) or {}
    opened = []
    for name in dict.fromkeys(names):
        tracker = _asked(name, partial(KINDS[name], out, begun.get(name), identity))
        begun[name] = tracker.run
        opened.append(tracker)
    if opened:
        write_json(out.path / FILE, begun)
        out.put(FILE)
    return tuple(opened)


class Tracker(ABC):
    """Sends what it is told every few seconds; says once where it fails.

    Attributes:
        run: what the run is called there.
    """

    name: str
    run: str

    def __init__(self) -> None:
        self._held: list[tuple[str, float, int]] = []
        self._next = 0.0
        self._failed = False

    def scalars(self, values: dict[str, float], step: int) -> None:
        self._held += [(name, float(value), step) for name, value in values.items()]
        if time.monotonic() >= self._next or len(self._held) >= MOST:
            self._flush()

    def preview(self, path: Path, step: int) -> None:
        self._flush()
        self._try(partial(self.send_preview, path, step))

    def close(self) -> None:
        self._flush()
        self._try(self.end)

    @abstractmethod
    def send(self, held: list[tuple[str, float, int]]) -> None:
        """Send (name, value, step)s."""

    @abstractmethod
    def send_preview(self, path: Path, step: int) -> None:
        """Send the picture of a step."""

    @abstractmethod
    def end(self) -> None:
        """The run is over, or stopped."""

    def _flush(self) -> None:
        self._next = time.monotonic() + FLUSH_SECONDS
        held, self._held = self._held, []
        for start in range(0, len(held), MOST):
            self._try(partial(self.send, held[start : start + MOST]))

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:  # of a stranger's client, of any kind
            if not self._failed:
                self._failed = True
                print(
                    f"{self.name} does not take this run's curves ({_line(error)}); the training "
                    "goes on, and TensorBoard has them",
                    file=sys.stderr,
                    flush=True,
                )


class MLflow(Tracker):
    """A run at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME."""

    name = "MLflow"

    def __init__(self, out: WorkFolder, run: str | None, identity: dict[str, Any]) -> None:
        super().__init__()
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client: Any = MlflowClient()
        if run is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            run = self._client.create_run(
                experiment, run_name=PurePosixPath(out.where).name
            ).info.run_id
            told = [Param(name, text) for name, text in parameters(identity).items()]
            self._client.log_batch(run, params=told)
        self.run = str(run)
        self._client.update_run(self.run, status="RUNNING")

    def send(self, held: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value, step in held]
        self._client.log_batch(self.run, metrics=metrics)

    def send_preview(self, path: Path, step: int) -> None:
        self._client.log_artifact(self.run, str(path), "previews")

    def end(self) -> None:
        self._client.set_terminated(self.run)


class WeightsAndBiases(Tracker):
    """A run in the project WANDB_PROJECT, of whoever `wandb login` or WANDB_API_KEY says."""

    name = "Weights & Biases"

    def __init__(self, out: WorkFolder, run: str | None, identity: dict[str, Any]) -> None:
        super().__init__()
        import wandb

        self.run = run or hashlib.sha256(os.urandom(16)).hexdigest()[:8]
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=PurePosixPath(out.where).name,
            id=self.run,
            resume="allow",
            dir=str(out.path),
            config=parameters(identity),
            settings=wandb.Settings(silent=True, console="off"),
        )
        # After a death a run goes on from an earlier step than it had told.
        self._run.define_metric("*", step_metric="step")

    def send(self, held: list[tuple[str, float, int]]) -> None:
        steps: dict[int, dict[str, float]] = {}
        for name, value, step in held:
            steps.setdefault(step, {"step": step})[name] = value
        for values in steps.values():
            self._run.log(values)

    def send_preview(self, path: Path, step: int) -> None:
        self._run.log({"preview": self._wandb.Image(str(path)), "step": step})

    def end(self) -> None:
        self._run.finish()


KINDS: dict[str, type[MLflow] | type[WeightsAndBiases]] = {MLFLOW: MLflow, WANDB: WeightsAndBiases}


def parameters(identity: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A run's identity as names and texts: `training.batch_size`."""
    flat: dict[str, str] = {}
    for name, value in identity.items():
        if isinstance(value, dict):
            flat |= parameters(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _asked(name: str, begin: Callable[[], Tracker]) -> Tracker:
    try:
        return begin()
    except ImportError:
        raise JobError(
            f"--track {name}: {name} is not installed; pip install 'brainpress[tracking]', or "
            "leave it out"
        ) from None
    except Exception as error:
        raise JobError(
            f"--track {name}: {_line(error)}; set what it needs, or leave it out", exit_code=1
        ) from error


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
