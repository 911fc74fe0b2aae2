"""Train the segmenter on a cohort with MUSE label maps and on virtual subjects.

    python -m ldm.measuring.train --bids COHORT --out RUN

COHORT is a BIDS folder with T1w images cut out of their heads and label maps
derivatives/**/*_dseg.nii.gz. A quarter of its subjects, by their id, is never looked at. The
shipped tool was trained in three stages, which its card tells: --refine 0, then twice --from.
To resume training, run the same command again. RUN/tool is the trained tool.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from ldm.errors import LdmError

VIRTUAL = 30  # virtual subjects, beside the real ones
CHANNELS, PATCH = (16, 32, 64, 96), 2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ldm.measuring.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--virtual", type=int, default=VIRTUAL, help="virtual subjects (30)")
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--cooldown-steps", type=int, default=850)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refine", type=int, default=16, help="channels of the last convolution")
    parser.add_argument("--refinements", type=int, default=1, help="1, or 2 for one more")
    parser.add_argument(
        "--strong", type=float, default=0.5, help="share of samples that are strongly augmented"
    )
    parser.add_argument("--from", dest="begin", type=Path, help="RUN whose weights to begin with")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    args = parser.parse_args(argv)
    try:
        _train(args)
    except LdmError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _train(args: argparse.Namespace) -> None:
    from ldm.measuring.network import SegmenterConfig
    from ldm.measuring.segmenter_task import train_segmenter
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
    shape = SegmenterConfig(
        channels=CHANNELS, patch=PATCH, refine=args.refine, refinements=args.refinements
    )
    train_segmenter(
        args.bids,
        args.out,
        config,
        shape,
        virtual=args.virtual,
        strong=args.strong,
        begin=args.begin,
        command=_command(args),
        tell=partial(print, flush=True),
    )


def _command(args: argparse.Namespace) -> str:
    """As the tool's card tells it: with the names of folders that anybody may have."""
    return (
        "python -m ldm.measuring.train --bids "
        f"{args.bids.name} --virtual {args.virtual} --steps {args.steps} --batch-size "
        f"{args.batch_size} --learning-rate {args.learning_rate:g} --cooldown-steps "
        f"{args.cooldown_steps} --seed {args.seed} --refine {args.refine} "
        f"--refinements {args.refinements} --strong {args.strong:g}"
        f"{' --from stage' if args.begin else ''} --out segmenter"
    )


if __name__ == "__main__":
    raise SystemExit(main())
