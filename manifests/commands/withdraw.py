"""Withdraw samples that were found bad: their rows say why, their images are removed.

The rows of the manifest stay, with the status withdrawn and the reason; participants.tsv, the page
and every version no longer have the samples; `generate` does not make them again. The same command
again, after an interruption, goes on."""

from __future__ import annotations

import argparse
import shlex

from manifests.commands.shared import add_release
from manifests.text import one_line

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    parser.add_argument(
        "samples", metavar="SAMPLE", nargs="+", help="as sub-000003, 000003 or 3; one or more"
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="for readers; one line")
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing, say what would be changed"
    )
    parser.epilog = (
        'example:\n  brainpress withdraw s3://bucket/release sub-000003 --reason "no cerebellum"'
    )


def run(args: argparse.Namespace) -> int:
    from manifests.publish.withdrawal import told, withdraw
    from manifests.query.release import Release

    release = Release.open(args.release)
    done = withdraw(release, args.samples, args.reason, dry_run=args.dry_run)
    would = "would be " if args.dry_run else ""
    if done.already:
        was = "was" if len(done.already) == 1 else "were"
        print(f"{told(done.already)} {was} withdrawn before")
    if done.mended:
        print(one_line(done.mended))
    if done.withdrawn:
        print(f"{told(list(done.withdrawn))} {would}withdrawn from {release.store.uri}")
    images = [key for key in done.removed if key.startswith("sub-")]
    if images:
        more = f" and {len(images) - SHOWN:,} more" if len(images) > SHOWN else ""
        print(f"{would}removed: {', '.join(images[:SHOWN])}{more}")
    if pictures := len(done.removed) - len(images):
        print(f"{would}removed too, as they may show one of these: {pictures:,} pictures")
    if not done.withdrawn and not done.removed:
        print(f"nothing to do: {release.store.uri} stays as it is")
    elif release.document.published and not args.dry_run:
        last = release.document.published.last.version
        print(
            f"version {last} is no longer what lies there: `brainpress publish"
            f" {shlex.quote(args.release)}` makes it the next"
        )
    return 0
