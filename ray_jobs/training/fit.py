"""One fit on Ray Train: the run's identity, its checkpoints, and going on after a death."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm.training import checkpoint
from ray_jobs import cluster
from ray_jobs.errors import JobError
from ray_jobs.files import digest, read_json, refuse_other_run, write_json
from ray_jobs.room import Machine, room_for
from ray_jobs.setup import set_up
from ray_jobs.training.options import WorkerGroup
from ray_jobs.training.worker import LOG

RUN, FINISHED = "run.json", "finished.json"
KEEP_CHECKPOINTS = 2

Card = dict[str, Any] | None


def fit(
    worker: Callable[[dict[str, Any]], None],
    spec: dict[str, Any],
    identity: dict[str, Any],
    out: Path,
    group: WorkerGroup,
) -> tuple[checkpoint.Groups, dict[str, Any]]:
    """Train to the end and return the last checkpoint's tensors and metadata.

    A dead worker's group starts again from the last checkpoint, as often as it may; a dead
    driver is resumed by running the same command again.

    Args:
        worker: what every Ray Train worker runs, with `spec` and `threads`.
        identity: what makes two runs the same; another one in `out` is refused.

    Raises:
        JobError: `out` holds another run, the cluster is too small, or the retries are spent.
    """
    begun = same_run(out, identity)
    with cluster.session() as found, _telling(out / LOG):
        share = _share(found, group)
        with set_up(out, found) as setup:
            last = _run(setup.function(worker), spec, begun, out, group, share)
    return checkpoint.read(last)


def same_run(out: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Record what a run is, or check that the one begun in `out` is this one.

    How many samples a worker computes at once may change: on fewer GPUs it has to, and the step is
    the same but for rounding.

    Returns:
        With what the run was begun: its checkpoints lie under that name.

    Raises:
        JobError: `out` holds another run.
    """
    return refuse_other_run(out / RUN, identity, free=["training.micro_batch"])


def is_finished(out: Path, identity: dict[str, Any], result: Path, steps: int, card: Card) -> bool:
    """Whether this very run already ended at `steps` or later and wrote its result.

    Args:
        result: the file that is written last of the result.
        card: what the result tells of itself; another one has to be written anew.

    Raises:
        JobError: `out` holds another run.
    """
    if (out / RUN).exists():
        same_run(out, identity)
    found = read_json(out / FINISHED)
    if found is None or not result.exists():
        return False
    return found["steps"] >= steps and found.get("card", card) == card


def mark_finished(out: Path, steps: int, card: Card) -> None:
    """Say that the run's result is written."""
    write_json(out / FINISHED, {"steps": steps, "card": card})


def _run(
    worker: Callable[[dict[str, Any]], None],
    spec: dict[str, Any],
    begun: dict[str, Any],
    out: Path,
    group: WorkerGroup,
    share: int,
) -> Path:
    import ray.train
    from ray.train.torch import TorchTrainer

    name = f"run-{digest(begun)[:16]}"
    drop_torn_list(out / "checkpoints" / name)
    trainer = TorchTrainer(
        worker,
        train_loop_config={**spec, "threads": share},
        scaling_config=ray.train.ScalingConfig(
            num_workers=group.workers,
            use_gpu=group.gpu,
            resources_per_worker={"CPU": share, "GPU": int(group.gpu)},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str(out / "checkpoints"),
            failure_config=ray.train.FailureConfig(max_failures=group.retries),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=KEEP_CHECKPOINTS),
        ),
    )
    try:
        result = trainer.fit()
    except Exception as error:
        rank = cluster.failed_worker(error)
        who = (
            f"worker {rank} of {group.workers}: " if rank is not None and group.workers > 1 else ""
        )
        raise JobError(
            f"training stopped after {group.retries} retries: {who}{cluster.cause(error)}. Its "
            f"checkpoints are in {out / 'checkpoints'}; the same command goes on from the last",
            exit_code=1,
        ) from error
    if result.checkpoint is None:
        raise JobError(f"training left no checkpoint in {out}; run the same command", exit_code=1)
    return Path(result.checkpoint.path)


def drop_torn_list(run: Path) -> None:
    """Ray Train rewrites its list of checkpoints in place and dies of half a one: with none,
    the workers find the last checkpoint themselves."""
    path = run / "checkpoint_manager_snapshot.json"
    if read_json(path) is None:
        path.unlink(missing_ok=True)


def _share(found: cluster.Cluster, group: WorkerGroup) -> int:
    """The CPUs of each worker, once there is room for all of them.

    Raises:
        JobError: there is none, and no machine comes.
    """
    gpu, given = int(group.gpu), group.cpus_per_worker
    asked = f"--workers {group.workers}{' --gpu' if group.gpu else ''}"
    asked += f" --cpus-per-worker {given}" if given else ""
    room = room_for(group.workers, Machine(given or 1, gpu), found, asked=asked)
    return given or room.share(group.workers, gpu=group.gpu)


class _telling:
    """Print the lines that worker 0 adds to the run's log while the block runs."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = log.stat().st_size if log.exists() else 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        position, ended = self._start, False
        while not ended:
            ended = self._stop.wait(1.0)
            if not self._log.exists():
                continue
            with self._log.open() as stream:
                stream.seek(position)
                for text in stream:
                    if not text.endswith("\n"):
                        break
                    position += len(text.encode())
                    with suppress(ValueError):  # a line that a killed worker left unfinished
                        print(_sentence(json.loads(text)), file=sys.stderr, flush=True)


def _sentence(line: dict[str, Any]) -> str:
    if "resumed" in line:
        return f"goes on from step {line['resumed']}/{line['steps']}"
    if "alarm" in line:
        return f"step {line['step']}/{line['steps']}: {line['alarm']}"
    values = ", ".join(f"{name} {value:.4g}" for name, value in line["values"].items())
    text = f"step {line['step']}/{line['steps']}: {values}"
    if line["rate"]:
        left = (line["steps"] - line["step"]) / line["rate"] / 60
        text += f" ({line['rate']:.2f} steps/s, {left:.0f} min left)"
    return text
