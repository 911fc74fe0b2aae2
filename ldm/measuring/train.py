"""Train the segmenter on a cohort with MUSE label maps and on virtual subjects.

    python -m ldm.measuring.train --bids COHORT --out RUN

COHORT is a BIDS folder with T1w images cut out of their heads and label maps
derivatives/**/*_dseg.nii.gz. A quarter of its subjects, by their id, is never looked at. The
shipped tool was trained in three stages, which its card tells: --refine 0, then twice --from.
To resume training, run the same command again. RUN/tool is the trained tool.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ldm.measuring.fitting.options import config_of, ended, parser_of

VIRTUAL = 30  # virtual subjects, beside the real ones
CHANNELS, PATCH = (16, 32, 64, 96), 2


def main(argv: list[str] | None = None) -> int:
    parser = parser_of("ldm.measuring.train", __doc__, steps=1700, cooldown_steps=850, strong=0.5)
    parser.add_argument("--virtual", type=int, default=VIRTUAL, help="virtual subjects (30)")
    parser.add_argument("--refine", type=int, default=16, help="channels of the last convolution")
    parser.add_argument("--refinements", type=int, default=1, help="1, or 2 for one more")
    parser.add_argument("--from", dest="begin", type=Path, help="RUN whose weights to begin with")
    return ended(_train, parser.parse_args(argv))


def _train(args: argparse.Namespace) -> None:
    from ldm.measuring.network import SegmenterConfig
    from ldm.measuring.segmenter_task import train_segmenter

    shape = SegmenterConfig(
        channels=CHANNELS, patch=PATCH, refine=args.refine, refinements=args.refinements
    )
    train_segmenter(
        args.bids,
        args.out,
        config_of(args),
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
