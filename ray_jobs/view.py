"""Look at a release, a report, a prepared cohort or a model, in a browser on this machine.

A release shows its page, also before it is published; a model draws whom one asks for, and
measures what it drew. The page is served to this machine alone, at an address with a secret in
it, until Ctrl-C."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifests.storage.base import Store
    from ray_jobs.viewing.site import Site

REPORT, MODEL = "report.html", "model"
EXAMPLES = """examples:
  brainpress view demo-release
  brainpress view s3://bucket/release
  brainpress view report
  brainpress view demo          # the demonstration model, with sliders
  brainpress view diffusion/model --port 8000 --no-browser"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.commands.shared import PLACES, add_place

    add_place(parser, PLACES)
    parser.add_argument(
        "--port", type=_port, default=0, help="of this machine (default: one that is free)"
    )
    parser.add_argument("--no-browser", action="store_true", help="open none, say where it is")
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    from manifests.commands.shared import place_of
    from ray_jobs.viewing.server import serve

    return serve(_site(args.release, place_of(args)), port=args.port, browser=not args.no_browser)


def _site(place: str, store: Store) -> Site:
    """What is to be seen at a place; a line says what it is.

    Raises:
        JobError, ReleaseError, LdmError: nothing there, or nothing that can be looked at.
    """
    from ray_jobs.errors import JobError
    from ray_jobs.inspection.kinds import Kind, kind_at

    kind = kind_at(place, store)
    if kind is Kind.RELEASE:
        from ray_jobs.viewing.release import view_release

        shown = view_release(store)
        print(shown.told, flush=True)
        return shown.site
    print(f"{kind}: {place}", flush=True)
    if kind is Kind.REPORT:
        from ray_jobs.viewing.site import StoredSite

        if store.look(REPORT) is None:
            raise JobError(
                f"{store.uri}: no {REPORT} there: run the same `brainpress evaluate` again, or give"
                " its --out"
            )
        return StoredSite(store, first=REPORT)
    if kind is Kind.COHORT:
        from ray_jobs.viewing.cohort import view_cohort

        return view_cohort(store, place)
    if kind is Kind.TRAINING and store.look(f"{MODEL}/model.json") is not None:
        place = f"{place.rstrip('/')}/{MODEL}"
    elif kind is not Kind.MODEL:
        raise JobError(
            f"{place}: {kind}, of which there is no page; `brainpress info` tells what is known"
        )
    from ray_jobs.viewing.model import view_model

    return view_model(place)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 1 to 65535, or 0")
    return port


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("view"))
