"""Fit the age and sex regressions to a cohort, on the subjects that the segmenter trained on.

    python -m ldm.measuring.train_people --bids COHORT --out RUN [--segmenter FOLDER]

The predictors and the strength of the penalty are chosen by cross-validation among those
subjects. Those held out are never looked at. RUN/tool is the tool.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ldm.errors import LdmError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ldm.measuring.train_people",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--segmenter", type=Path, help="its folder; by default the shipped one")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    command = f"python -m ldm.measuring.train_people --bids {args.bids.name} --out people"
    try:
        from ldm.measuring.people_fit import fit_people

        fit_people(args.bids, args.out, args.segmenter, args.seed, command=command, tell=print)
    except LdmError as error:
        print(f"train_people: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
