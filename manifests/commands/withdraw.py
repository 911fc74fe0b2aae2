"""Withdraw samples that were found bad: their rows say why, their images and pictures are removed.

The rows of the manifest stay, with the status withdrawn and the reason; participants.tsv, the page,
the evaluation and every version no longer show the samples; `generate` does not make them again.
What will go is shown, and you are asked. The same command again, after an interruption, goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.commands.shared import (
    add_confirmation,
    add_filter,
    add_release_to_change,
    confirmed,
    release_to_change,
    words_of,
)
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.publish.withdrawal import Withdrawal
    from manifests.query.release import Release

SHOWN = 10
EXAMPLES = """\
examples:
  brainpress withdraw s3://bucket/release sub-000003 sub-000007 --reason "no cerebellum"
  brainpress withdraw RELEASE --where "quality_sharpness < 0.1" --reason "blurred" --dry-run
  brainpress withdraw RELEASE --file bad.txt --reason "copies of training subjects" --yes

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release_to_change(parser)
    parser.add_argument(
        "samples", metavar="SAMPLE", nargs="*", help="their participant_ids, as sub-000003"
    )
    parser.add_argument(
        "--file", metavar="FILE", type=Path, help="more of them, one a line, as in participants.tsv"
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="for readers; one line")
    add_filter(parser, "samples", EXAMPLES)
    add_confirmation(parser)


def run(args: argparse.Namespace) -> int:
    from manifests.publish.samples import check_reason, chosen_samples
    from manifests.publish.withdrawal import withdraw

    check_reason(args.reason)
    release = release_to_change(args)
    samples = chosen_samples(release, args.samples, file=args.file, where=args.where)
    if args.dry_run or not args.yes:
        planned = withdraw(release, samples, args.reason, dry_run=True)
        _tell(release, planned, would="would be ")
        something = planned.withdrawn or planned.removed or planned.cleared
        if args.dry_run or not something:
            return 0
        if not confirmed("withdraw", "Withdraw them? An image that is removed does not come back."):
            return 1
    done = withdraw(release_to_change(args), samples, args.reason)
    _tell(release, done, would="")
    if (done.withdrawn or done.removed) and release.document.published:
        last = release.document.published.last.version
        made = f"version {last} is no longer what lies there; publish makes it the next"
        print(f"{made}\n  next  brainpress publish {words_of(args)}")
    return 0


def _tell(release: Release, done: Withdrawal, *, would: str) -> None:
    """What was withdrawn and removed, or would be."""
    from manifests.publish.samples import told

    if done.already:
        was = "was" if len(done.already) == 1 else "were"
        print(f"{told(done.already)} {was} withdrawn before")
    if done.mended:
        print(one_line(done.mended))
    if done.withdrawn:
        print(f"{told(list(done.withdrawn))} {would}withdrawn from {release.store.uri}")
    images = [key for key in done.removed if key.startswith("sub-")]
    for what, keys in (
        ("", images),
        (" too, as they may show one of these", sorted(set(done.removed) - set(images))),
    ):
        if keys:
            more = f" and {len(keys) - SHOWN:,} more" if len(keys) > SHOWN else ""
            print(f"{would}removed{what}: {', '.join(keys[:SHOWN])}{more}")
    if done.cleared:
        more = f" and {len(done.cleared) - SHOWN:,} more" if len(done.cleared) > SHOWN else ""
        shown = ", ".join(done.cleared[:SHOWN])
        print(f"{would}rewritten without their pictures and measures: {shown}{more}")
    if not done.withdrawn and not done.removed and not done.cleared:
        print(f"nothing to do: {release.store.uri} stays as it is")
