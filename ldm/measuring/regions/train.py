"""Train the region tool, on what the shipped segmenter sees, on a cohort with MUSE label maps.

    python -m ldm.measuring.regions.train --bids COHORT --out RUN

COHORT is a BIDS folder with T1w images cut out of their heads and label maps
derivatives/**/*_dseg.nii.gz. A quarter of its subjects, by their id, is never looked at. To resume
training, run the same command again. RUN/tool is the trained tool.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from ldm.errors import LdmError

CHANNELS = (32, 48, 80, 96)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ldm.measuring.regions.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--cooldown-steps", type=int, default=1200)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--strong", type=float, default=0.4, help="share of samples that are strongly augmented"
    )
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    args = parser.parse_args(argv)
    try:
        _train(args)
    except LdmError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _train(args: argparse.Namespace) -> None:
    from ldm.measuring.regions.network import RegionConfig
    from ldm.measuring.regions.task import train_regions
    from ldm.networks.precision import resolve
    from ldm.training.config import TrainingConfig

    config = TrainingConfig(
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
    train_regions(
        args.bids,
        args.out,
        config,
        RegionConfig(channels=CHANNELS),
        strong=args.strong,
        command=_command(args),
        tell=partial(print, flush=True),
    )


def _command(args: argparse.Namespace) -> str:
    """As the tool's card tells it: with the names of folders that anybody may have."""
    return (
        f"python -m ldm.measuring.regions.train --bids {args.bids.name} --steps {args.steps} "
        f"--batch-size {args.batch_size} --learning-rate {args.learning_rate:g} --cooldown-steps "
        f"{args.cooldown_steps} --seed {args.seed} --strong {args.strong:g} --out regions"
    )


if __name__ == "__main__":
    raise SystemExit(main())
