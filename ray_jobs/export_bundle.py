"""Write a model as a MONAI bundle, which `python -m monai.bundle run` runs without brainpress.

The bundle holds the two networks as MONAI's own classes, the sampler as a script of its own, and
gives for a seed, an index and covariates the volume that `generate` gives.
"""

from __future__ import annotations

import argparse
import shlex

EXAMPLES = """examples:
  brainpress export-bundle demo demo-bundle
  cd demo-bundle
  python -m monai.bundle run --config_file configs/inference.json --seed 7 --covariates#age 70"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "model", metavar="MODEL", help='"demo", a model folder, an s3:// URI, "monai" or monai:DIR'
    )
    parser.add_argument(
        "folder", metavar="DIR", help="a new folder, or a bundle exported before, to be replaced"
    )


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ldm.models.bundle.export import export_bundle, refuse_other

    folder = Path(args.folder).expanduser()
    refuse_other(folder)  # before the model is loaded
    from ldm.loading import load

    model = load(args.model, device="cpu", precision="fp32")
    export_bundle(model, args.model, folder)
    print(f"model {model.name} as a MONAI bundle: {folder}")
    print(
        f"  next  cd {shlex.quote(str(folder))} && python -m monai.bundle run "
        "--config_file configs/inference.json --seed 7"
    )
    return 0


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("export-bundle"))
