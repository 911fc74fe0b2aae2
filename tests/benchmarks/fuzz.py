"""Ten thousand broken files for every reader: python -m tests.benchmarks.fuzz --inputs 10000

The inputs are shared out over all readers, and are the same in every run. Prints a table; stops
with exit code 1 at the first input that ends in anything but an error of ours. The peak of memory
is that of the process while one reader ran, above what it had before (Linux alone)."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import tempfile
import traceback
from pathlib import Path

import torch

from tests.fuzzing.model_readers import model_readers
from tests.fuzzing.readers import release_readers
from tests.fuzzing.running import run

HEAD = ("reader", "inputs", "accepted", "refused", "seconds", "slowest", "peak MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="over all readers")
    parser.add_argument("--only", default="", help="readers whose name has this")
    args = parser.parse_args()
    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="brainpress-fuzz-") as scratch:
        readers = [*release_readers(Path(scratch)), *model_readers(Path(scratch))]
        readers = [reader for reader in readers if args.only in reader.name]
        each = -(-args.inputs // max(1, len(readers)))
        print("{:<30}{:>8}{:>10}{:>9}{:>9}{:>9}{:>9}".format(*HEAD), flush=True)
        total = 0
        for reader in readers:
            gc.collect()
            before = _reset_peak()
            try:
                tally = run(reader, each)
            except BaseException as error:
                traceback.print_exc()
                print(f"{reader.name}: ended in {type(error).__name__}: {error}", file=sys.stderr)
                return 1
            total += tally.inputs
            print(
                f"{tally.reader:<30}{tally.inputs:>8,}{tally.accepted:>10,}{tally.refused:>9,}"
                f"{tally.seconds:>9.1f}{tally.slowest:>9.2f}{_peak() - before:>9,.0f}",
                flush=True,
            )
    print(f"{total:,} inputs, no end but an error of ours")
    return 0


def _reset_peak() -> float:
    """Start a new peak; the memory in use now, in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0.0
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1000
    return 0.0


if __name__ == "__main__":
    raise SystemExit(main())
