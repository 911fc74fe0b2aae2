"""Train the region tool, on what the shipped segmenter sees, on a cohort with MUSE label maps.

    python -m ldm.measuring.regions.train --bids COHORT --out RUN

COHORT is a BIDS folder with T1w images cut out of their heads and label maps
derivatives/**/*_dseg.nii.gz. A quarter of its subjects, by their id, is never looked at. To resume
training, run the same command again. RUN/tool is the trained tool.
"""

from __future__ import annotations

import argparse
from functools import partial

from ldm.measuring.fitting.options import config_of, ended, parser_of

CHANNELS = (32, 48, 80, 96)


def main(argv: list[str] | None = None) -> int:
    parser = parser_of(
        "ldm.measuring.regions.train", __doc__, steps=2000, cooldown_steps=1200, strong=0.4
    )
    return ended(_train, parser.parse_args(argv))


def _train(args: argparse.Namespace) -> None:
    from ldm.measuring.regions.network import RegionConfig
    from ldm.measuring.regions.task import train_regions

    train_regions(
        args.bids,
        args.out,
        config_of(args),
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
