"""The options that the training jobs share, and what they come to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ldm.training.config import TrainingConfig
from ray_jobs.errors import JobError

_HELP = {
    "steps": "of the optimizer; ask for more to go on with a finished run",
    "batch_size": "samples an optimizer step, over all workers",
    "learning_rate": "AdamW's learning rate",
    "cooldown_steps": "last steps, in which the learning rate falls towards 0",
    "ema_decay": "of the averaged weights, which are the ones that are kept",
    "micro_batch": "samples a worker computes at once (gradient accumulation); 0: its whole share",
    "save_every": "steps between validations, which leave a checkpoint and a preview",
    "seed": "of the initial weights, the order of samples and all noise",
    "precision": "bf16 or fp32",
}
_CHECKPOINTING = {
    "activation_checkpointing": "compute activations again on the way back instead of keeping "
    "them: the same result, less memory, more time"
}
# What only one of the jobs has.
AUTOENCODER = {
    "kl_weight": "weight of the KL term, a sum over the values of a volume's latent",
    "perceptual_weight": "weight of the perceptual term; 0 leaves it out",
    "adversarial_weight": "weight of the patch-adversarial term; 0 leaves it out",
    "adversarial_from": "step from which the critic plays",
    "adversarial_warmup": "steps from there over which that weight rises from 0",
    "critic_learning_rate": "the critic's learning rate",
    **_CHECKPOINTING,
}
DECODER = dict(_CHECKPOINTING)
# All that train-private has of them.
PRIVATE = {
    "steps": "of the optimizer; fixed with the run, for the noise of each is reckoned from it",
    **{name: _HELP[name] for name in ("learning_rate", "ema_decay")},
    "condition_dropout": "share of noisy latents whose covariates are dropped (default 0.1)",
    "save_every": _HELP["save_every"],
    "seed": "of time steps and the noise of latents; who is taken, and the noise of privacy, come "
    "from no seed",
    "precision": _HELP["precision"],
}
DIFFUSION = {
    "condition_dropout": "share of training samples whose covariates are dropped, for guidance and "
    "for sampling without them",
    "loss_weighting": "of noise levels: none, or min-snr (Hang et al. 2023, gamma 5)",
    "timesteps": "how they are drawn: uniform, or logit-normal (Esser et al. 2024), more from the "
    "middle",
    **_CHECKPOINTING,
}
_LEAST = {
    "steps": 1,
    "batch_size": 1,
    "micro_batch": 0,
    "cooldown_steps": 0,
    "adversarial_from": 0,
    "adversarial_warmup": 0,
    "save_every": 1,
    "seed": 0,
    "workers": 1,
    "cpus_per_worker": 1,
    "retries": 0,
}


@dataclass(frozen=True, kw_only=True)
class WorkerGroup:
    """The Ray Train workers of a fit.

    Attributes:
        workers: data parallel (DDP), of the same global batch.
        gpu: one GPU a worker.
        cpus_per_worker: None shares out the cluster's.
        retries: how often to start again after a worker died or failed.
        min_workers: with how few to go on; None: with all of them.
        worker_patience: seconds for a step, or a validation.
    """

    workers: int
    gpu: bool
    cpus_per_worker: int | None
    retries: int
    min_workers: int | None = None
    worker_patience: float = 1800.0

    @classmethod
    def of(cls, args: argparse.Namespace) -> WorkerGroup:
        """As the options of `add_options` ask for it.

        Raises:
            JobError: a number that makes no sense.
        """
        group = cls(**{field.name: getattr(args, field.name) for field in fields(cls)})
        if not 1 <= group.least <= group.workers:
            raise JobError(f"--min-workers {group.least}: expected 1 to --workers {group.workers}")
        if not group.worker_patience > 0:
            raise JobError(f"--worker-patience {group.worker_patience:g}: expected above 0")
        return group

    @property
    def least(self) -> int:
        """How many there have to be."""
        return self.workers if self.min_workers is None else self.min_workers

    @property
    def size(self) -> int | tuple[int, int]:
        """As Ray Train takes it: a number, or from how many to how many."""
        return self.workers if self.least == self.workers else (self.least, self.workers)


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of a run: which checkpoints, whose weights as its result, and curves where.

    Attributes:
        keep: the best by validation, beside the last.
        save_minutes: between two checkpoints, at most.
        take: "last", "best" or the step of one that is kept.
        track: where curves go beside TensorBoard.
    """

    keep: int
    save_minutes: float
    take: str
    track: tuple[str, ...] = ()

    @classmethod
    def of(cls, args: argparse.Namespace) -> Keeping:
        """As the options of `add_options` ask for it.

        Raises:
            JobError: `--take` names no checkpoint, or a number that makes no sense.
        """
        if args.keep < 1:
            raise JobError(f"--keep {args.keep}: expected at least 1")
        if not args.save_minutes > 0:
            raise JobError(f"--save-minutes {args.save_minutes:g}: expected above 0")
        if args.take not in ("last", "best") and not args.take.isdecimal():
            raise JobError(f"--take {args.take}: expected last, best or the number of a step")
        return cls(
            keep=args.keep,
            save_minutes=args.save_minutes,
            take=args.take,
            track=tuple(args.track),
        )


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add `--cohort`: the prepared one."""
    parser.add_argument(
        "--cohort",
        required=True,
        metavar="FOLDER",
        help="what brainpress prepare wrote: a folder, or s3://bucket/prefix",
    )


def add_run(
    parser: argparse.ArgumentParser,
    *,
    folder: str = "folder of this run",
    same: str = "the same in all four jobs",
    files: bool = True,
) -> None:
    """Add `--out`, which is `folder`, and `--preset`, which is `same` and may be a file."""
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help=f"{folder}, seen by every machine of the cluster, or s3://bucket/prefix",
    )
    known = "demo (default), " + ("lab, paper, tiny or a file" if files else "paper or tiny")
    made = ", as brainpress preset writes it" if files else ""
    parser.add_argument("--preset", default="demo", help=f"{known}{made}; {same}")


def add_options(parser: argparse.ArgumentParser, own: Mapping[str, str] | None = None) -> None:
    """Add the overrides of the preset's numbers and the size of the worker group.

    Args:
        own: the numbers that only this job has, with their help: `AUTOENCODER` or `DIFFUSION`.
    """
    _add_numbers(parser.add_argument_group("instead of the preset's"), {**_HELP, **(own or {})})
    group = add_work(parser)
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="data parallel (DDP), of the same global batch (default 1)",
    )
    group.add_argument(
        "--min-workers",
        type=int,
        metavar="N",
        help="begin and go on with as few where there is no room for all; as room comes and goes, "
        "their number follows it from the last checkpoint",
    )
    group = add_kept(parser)
    group.add_argument(
        "--take",
        default="last",
        metavar="WHICH",
        help="the checkpoint whose averaged weights the result has: last (default), best by "
        "validation, or the step of one that is kept; also of a finished run",
    )
    group.add_argument(
        "--track",
        action="append",
        choices=("mlflow", "wandb"),
        default=[],
        help="send curves and previews there too, set up as its own variables say "
        "(MLFLOW_TRACKING_URI, WANDB_API_KEY); may be given twice",
    )


def add_private(parser: argparse.ArgumentParser) -> None:
    """Add what train-private has of them: one worker, whose losses stay on its own disk."""
    _add_numbers(parser.add_argument_group("how it is trained"), PRIVATE)
    add_work(parser)
    add_kept(parser)
    parser.set_defaults(workers=1, min_workers=None, take="last", track=[])


def _add_numbers(group: argparse._ArgumentGroup, helps: Mapping[str, str]) -> None:
    """Add an option for each field of `TrainingConfig` in `helps`."""
    types = {field.name: str(field.type) for field in fields(TrainingConfig)}
    for name, text in helps.items():
        option = f"--{name.replace('_', '-')}"
        if types[name] == "bool":
            group.add_argument(option, action="store_const", const=True, help=text)
            continue
        kind: type = {"int": int, "float": float}.get(types[name], str)
        metavar = {int: "N", float: "X"}.get(kind)
        group.add_argument(option, type=kind, metavar=metavar, help=text)


def add_work(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add where the work is done, and how often it is tried again."""
    group = parser.add_argument_group("how the work is done")
    group.add_argument("--gpu", action="store_true", help="one GPU a worker")
    group.add_argument(
        "--cpus-per-worker",
        type=int,
        metavar="N",
        help="by default those of the machines with room for workers, shared out",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=3,
        metavar="N",
        help="how often to start again after a worker died or failed (default 3)",
    )
    group.add_argument(
        "--worker-patience",
        type=float,
        default=1800.0,
        metavar="S",
        help="seconds without a step after which workers start again, and the one for which they "
        "waited is named (default 1800)",
    )
    return group


def add_kept(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add which checkpoints are kept."""
    group = parser.add_argument_group("what is kept")
    group.add_argument(
        "--keep",
        type=int,
        default=2,
        metavar="N",
        help="best checkpoints by validation, beside the last (default 2)",
    )
    group.add_argument(
        "--save-minutes",
        type=float,
        default=15.0,
        metavar="M",
        help="save one between validations too, where the last is older (default 15)",
    )
    return group


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what the training takes (memory, operations, time) and leaves, and train nothing",
    )


def add_start(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--from`: the weights to begin with."""
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        help=f"begin with the {what} of an earlier run's folder or of a model, as in generate "
        "--model, instead of random weights",
    )


def add_about(parser: argparse.ArgumentParser) -> None:
    """Add what a finished model says of itself on its card."""
    group = parser.add_argument_group("what the model says of itself")
    group.add_argument("--name", default="model", help="its name in releases (default model)")
    group.add_argument("--description", default="", help="a sentence for its card")
    group.add_argument("--license", help="its licence; by default the cohort's")
    group.add_argument("--attribution", help="whom to credit; by default whom the cohort names")
    group.add_argument(
        "--demonstration", action="store_true", help="every release made with it says it is a demo"
    )


def about_model(
    args: argparse.Namespace, source: Mapping[str, Any], description: str = ""
) -> dict[str, Any]:
    """The part of a model's card that is known before the training, from `add_about`'s options.

    Args:
        source: what the cohort tells of itself.
        description: where none is given.
    """
    return {
        "name": args.name,
        "description": args.description or description,
        "license": args.license or source.get("license", "not stated"),
        "attribution": args.attribution or source.get("attribution", ""),
        "demo": args.demonstration,
    }


def configure(base: TrainingConfig, args: argparse.Namespace) -> TrainingConfig:
    """The preset's numbers with what `args` overrides.

    Raises:
        JobError, LdmError: a number that makes no sense.
    """
    for name, least in _LEAST.items():
        value = getattr(args, name, None)
        if value is not None and value < least:
            raise JobError(f"--{name.replace('_', '-')} {value}: expected at least {least}")
    given = {field.name: getattr(args, field.name, None) for field in fields(TrainingConfig)}
    chosen = {name: value for name, value in given.items() if value is not None}
    config = replace(base, **chosen)
    if config.batch_size < args.workers:
        raise JobError(
            f"--batch-size {config.batch_size} is less than --workers {args.workers}; expected one "
            "sample each or more"
        )
    return config
