"""Write a preset out as a file, every field with its value, to be edited and given to --preset.

NAME is demo, lab, paper, tiny, or a file of yours: that one is checked and written out in full.
What each field means is in docs/presets.md. Prints it, or writes it to --out.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="demo, lab, paper, tiny, or a preset's file")
    parser.add_argument("--out", metavar="FILE", help="a new .json file, instead of the terminal")
    parser.epilog = """examples:
  brainpress preset demo --out my-preset.json
  brainpress preset my-preset.json            (checks it)
then, with the same file in every job:
  brainpress prepare cohort --preset my-preset.json --out prepared
  brainpress train-autoencoder --cohort prepared --preset my-preset.json --out autoencoder"""


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ldm.training.presets import preset, preset_text
    from manifests.terminal import told_end
    from ray_jobs.ending import PREPARED
    from ray_jobs.errors import JobError
    from ray_jobs.files import in_utf8, write_bytes

    text = preset_text(preset(args.name))
    if args.out is None:
        print(text, end="")
        return 0
    out = in_utf8(Path(args.out).expanduser().absolute(), "--out")
    if out.suffix != ".json":
        raise JobError(f"--out {args.out}: expected a name that ends in .json")
    if out.exists():
        raise JobError(f"--out {args.out} is there already; give a new name, or take it away first")
    if not out.parent.is_dir():
        raise JobError(f"--out {args.out}: there is no folder {out.parent}; make it first")
    write_bytes(out, text.encode())
    made = f"{out}: edit it, then give it to every job: --preset {args.out}"
    then = ("prepare", "my-bids-cohort", "--preset", args.out, "--out", PREPARED)
    print(told_end(made, {}, then))
    return 0


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("preset"))
