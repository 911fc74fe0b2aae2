"""Plays the real faults, one after the other, and prints what came of each.

python -m tests.faults.run [--only NAME ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.stage import Stage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="NAME")
    args = parser.parse_args()
    stage = Stage.set(Path(tempfile.mkdtemp(prefix="bp-faults-")))
    failed = []
    try:
        for name in args.only:
            started = time.monotonic()
            try:
                told = FAULTS[name](stage)
            except Exception as error:
                failed.append(name)
                told = f"FAILED: {type(error).__name__}: {error}"
            print(f"{name:<20}{time.monotonic() - started:6.0f} s  {told}", flush=True)
    finally:
        stage.strike_down()
    print(f"{len(args.only) - len(failed)} of {len(args.only)} faults survived")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
