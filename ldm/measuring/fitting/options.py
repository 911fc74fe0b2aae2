"""The command line that the trainings of the measuring tools share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ldm.errors import LdmError
from ldm.training.config import TrainingConfig


def parser_of(
    module: str, description: str | None, *, steps: int, cooldown_steps: int, strong: float
) -> argparse.ArgumentParser:
    """The options that all have, with these defaults.

    Args:
        module: that is run, `python -m MODULE`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--cooldown-steps", type=int, default=cooldown_steps)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--strong", type=float, default=strong, help="share of samples that are strongly augmented"
    )
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    return parser


def config_of(args: argparse.Namespace) -> TrainingConfig:
    """The numbers of a run."""
    from ldm.networks.precision import resolve

    return TrainingConfig(
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        cooldown_steps=args.cooldown_steps,
        weight_decay=1e-4,
        ema_decay=0.995,
        save_every=args.save_every,
        seed=args.seed,
        precision=resolve(args.precision, "cpu"),
    )


def ended(train: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    """The exit code of a training, and a line where it cannot be done."""
    try:
        train(args)
    except LdmError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0
