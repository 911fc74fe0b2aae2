"""What lies at a place: a release, a model, a prepared cohort, latents, a training run, a report.

Of a release what it holds, how it was made, and which columns its manifest has."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  brainpress info s3://bucket/release
  brainpress info https://host/release --json
  brainpress info demo
  brainpress info diffusion"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.commands.shared import PLACES, add_place, add_version

    add_place(parser, PLACES)
    add_version(parser)
    parser.add_argument(
        "--json", action="store_true", help="print it as JSON; of a release release.json as it is"
    )
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    from manifests.commands.shared import place_of
    from ray_jobs.inspection.kinds import Kind, kind_at

    store = place_of(args)
    kind = kind_at(args.release, store)
    if kind is Kind.RELEASE:
        from manifests.commands.info import run as info

        return info(args)
    import json

    from manifests.text import json_text, printable
    from ray_jobs.errors import JobError
    from ray_jobs.inspection.about import about

    if args.release_version is not None:
        raise JobError(f"--release-version: {args.release} is a {kind}, which has no versions")
    text, document = about(kind, args.release, store)
    told = json.dumps(document, indent=2, ensure_ascii=False) if args.json else text
    print(json_text(told) if args.json else printable(told))
    return 0


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("info"))
