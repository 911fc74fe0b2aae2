"""One fit on Ray Train: from its first step, or its last checkpoint, to its end or a stop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from ldm.training.config import TrainingConfig
from manifests.changes.lease import Lease
from manifests.numbers import counted
from ray_jobs import cluster
from ray_jobs.errors import JobError
from ray_jobs.files import digest
from ray_jobs.interrupts import Interrupts
from ray_jobs.room import Machine, room_for
from ray_jobs.setup import set_up
from ray_jobs.training.fitting import last_words, monitor
from ray_jobs.training.fitting.checkpoints import SCORE, Kept
from ray_jobs.training.fitting.record import Record
from ray_jobs.training.fitting.screen import Screen
from ray_jobs.training.fitting.storage import FOLDER, storage
from ray_jobs.training.fitting.trackers import open_trackers
from ray_jobs.training.fitting.worker import Place
from ray_jobs.training.options import Keeping, WorkerGroup
from ray_jobs.work_folder import WorkFolder

POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A run that reached its end.

    Attributes:
        weights: the averaged ones, of the checkpoint that was asked for.
        step: of that checkpoint.
        history: what validation found until there.
        reached: the run's last step.
    """

    weights: dict[str, Any]
    step: int
    history: list[dict[str, float]]
    reached: int


def fit(
    worker: Callable[[dict[str, Any]], None],
    spec: dict[str, Any],
    begun: dict[str, Any],
    out: WorkFolder,
    group: WorkerGroup,
    keeping: Keeping,
    lease: Lease,
) -> Fitted:
    """Train to the end.

    A dead worker's group starts again from the last checkpoint, as often as it may; a dead
    driver is resumed by running the same command again. Ctrl-C and SIGTERM save a checkpoint.

    Args:
        worker: what every Ray Train worker runs, with `spec` and its `place`.
        begun: with what the run was begun, of which its checkpoints have their name.
        lease: of `out`.

    Raises:
        JobError: the cluster is too small, the retries are spent, or it was stopped (exit code 130
            or 143).
        ReleaseError: the lease was lost.
    """
    config = TrainingConfig.from_json(spec["config"])
    interrupts, kept = Interrupts(), Kept(out, f"run-{digest(begun)[:16]}")
    with cluster.session() as found:
        share = _share(found, group)
        screen = Screen(begun["kind"], config, out.where, threads=share)
        screen.say(f"starting {counted(group.workers, 'worker')} ...")
        record = Record(out, screen, open_trackers(keeping.track, out, begun))
        try:
            with set_up(out.where, found) as setup:
                run = _Run(kept, group, keeping, share)
                trainer, ear = run.trainer(setup.function(worker), spec)
                with interrupts.caught(), interrupts.watched():
                    last = _watch(trainer, ear, record, lease, interrupts, out)
        finally:
            record.close()
        reached = int(kept.look(last)["step"])
        if reached < config.steps:
            raise stopped(
                interrupts, f"at step {reached} of {config.steps}; its checkpoint is kept"
            )
        taken = kept.chosen(keeping.take)
        meta = kept.look(taken)
    return Fitted(
        weights=kept.weights(taken), step=meta["step"], history=meta["history"], reached=reached
    )


def stopped(interrupts: Interrupts, where: str) -> JobError:
    """The end of a run that somebody stopped."""
    return JobError(
        f"stopped {where}; the same command goes on from there", exit_code=interrupts.exit_code
    )


@dataclass(frozen=True)
class _Run:
    """A run as Ray Train is told of it."""

    kept: Kept
    group: WorkerGroup
    keeping: Keeping
    share: int

    def trainer(
        self, worker: Callable[[dict[str, Any]], None], spec: dict[str, Any]
    ) -> tuple[Any, Any]:
        """The trainer, and the monitor that its workers tell."""
        import ray.train
        from ray.train.torch import TorchConfig, TorchTrainer

        self.kept.drop_torn_list()
        path, filesystem = storage(self.kept.out)
        ear = monitor.start()
        place = Place(
            kept=self.kept,
            threads=self.share,
            monitor=ear,
            save_seconds=60 * self.keeping.save_minutes,
            patience_seconds=self.group.worker_patience,
        )
        gpu, size = self.group.gpu, cast(int, self.group.size)  # or a pair, says Ray 2.60
        trainer = TorchTrainer(
            worker,
            train_loop_config={**spec, "place": place},
            # Its own limit is behind that of a worker's pulse, which can name whom it waited for.
            torch_config=TorchConfig(timeout_s=int(60 + 2 * self.group.worker_patience)),
            scaling_config=ray.train.ScalingConfig(
                num_workers=size,
                use_gpu=gpu,
                resources_per_worker={"CPU": self.share, "GPU": int(gpu)},
            ),
            run_config=ray.train.RunConfig(
                name=self.kept.name,
                storage_path=path,
                storage_filesystem=filesystem,
                failure_config=ray.train.FailureConfig(max_failures=self.group.retries),
                checkpoint_config=ray.train.CheckpointConfig(
                    num_to_keep=self.keeping.keep,
                    checkpoint_score_attribute=SCORE,
                    checkpoint_score_order="min",
                ),
                callbacks=[monitor.callback(ear)],
            ),
        )
        return trainer, ear


def _watch(
    trainer: Any, ear: Any, record: Record, lease: Lease, interrupts: Interrupts, out: WorkFolder
) -> str:
    """Run the trainer beside this thread, which records, renews and hears signals; its last
    checkpoint."""
    import ray

    ended: dict[str, Any] = {}

    def work() -> None:
        try:
            ended["result"] = trainer.fit()
        except Exception as error:
            ended["error"] = error

    thread = threading.Thread(target=work, daemon=True)  # Ray Train takes SIGINT in a main one
    thread.start()
    told = False
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        _take(ear, record, out)
        lease.check()
        if interrupts.now:
            raise stopped(interrupts, "at once; steps since the last checkpoint are lost")
        if interrupts.finish and not told:
            told = True
            _say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")
            ray.get(ear.ask_to_stop.remote())
    _take(ear, record, out)
    if "error" in ended:
        raise _failed(ended["error"], trainer, out)
    if ended["result"].checkpoint is None:
        if interrupts.finish:
            raise stopped(interrupts, "before its first step")
        raise JobError(f"training left no checkpoint in {out}; run the same command", exit_code=1)
    return PurePosixPath(ended["result"].checkpoint.path).name


def _take(ear: Any, record: Record, out: WorkFolder) -> None:
    """Record what was told since the last time.

    Raises:
        JobError: Ray is gone.
    """
    import ray

    try:
        came = ray.get(ear.take.remote())
    except ray.exceptions.RayError as error:
        raise JobError(
            f"Ray went away ({cluster.cause(error)}); the same command goes on from the last "
            "checkpoint",
            exit_code=1,
        ) from error
    for told in came:
        record.take(told)
        if "errors" in told:
            for line in last_words.keep(out, told["errors"], told["logs"]):
                _say(line)


def _failed(error: Exception, trainer: Any, out: WorkFolder) -> JobError:
    rank, workers = cluster.failed_worker(error), trainer.scaling_config.max_workers
    who = f"worker {rank} of {workers}: " if rank is not None and workers > 1 else ""
    retries = trainer.run_config.failure_config.max_failures
    return JobError(
        f"training stopped after {retries} retries: {who}{cluster.cause(error)}. Its "
        f"checkpoints are in {out / FOLDER}; the same command goes on from the last",
        exit_code=1,
    )


def _share(found: cluster.Cluster, group: WorkerGroup) -> int:
    """The CPUs of each worker, once there is room for all of them.

    Raises:
        JobError: there is none, and no machine comes.
    """
    gpu, given = int(group.gpu), group.cpus_per_worker
    asked = f"--workers {group.workers}{' --gpu' if group.gpu else ''}"
    asked += f" --cpus-per-worker {given}" if given else ""
    room = room_for(group.least, Machine(given or 1, gpu), found, asked=asked)
    together = min(group.workers, room.slots(Machine(given or 1, gpu)))
    return given or room.share(together, gpu=group.gpu)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
