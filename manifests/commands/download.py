"""A release, or a part of it, into a folder that is a checked BIDS dataset of its own.

Of a segmented release the label maps of the images come with them, and the volumes of regions.

Images that are there already, with the right digest, are not fetched again: run the same command
again after an interruption, or another choice into the same folder to add to it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from manifests.commands.shared import (
    Progress,
    add_expect,
    add_filter,
    add_release,
    add_version,
    at_least_one,
    count,
    names,
    place_of,
    reads_whole,
)
from manifests.errors import ReleaseError
from manifests.numbers import counted, human_bytes
from manifests.terminal import told_end
from manifests.text import one_line

EXAMPLES = """\
examples:
  brainpress download s3://bucket/release brains --where "age > 70" --limit 100
  brainpress download https://host/release brains --expect SHA256
  brainpress download RELEASE brains --ids sub-000003,sub-000007

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    add_expect(parser)
    add_version(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    add_filter(parser, "images", EXAMPLES)
    parser.add_argument("--ids", type=names, metavar="ID,ID", help="only these participants")
    parser.add_argument(
        "--limit", type=count, metavar="N", help="the first N of them, 0 for all (default: all)"
    )
    parser.add_argument(
        "--existing",
        choices=("error", "skip", "overwrite"),
        default="error",
        help="what to do with a file that is there and is not the release's (default: error)",
    )
    parser.add_argument(
        "--connections", type=at_least_one, default=8, metavar="N", help="at once (default: 8)"
    )


@reads_whole
def run(args: argparse.Namespace) -> int:
    from manifests.query.release import Release
    from manifests.volumes.download import Existing, download

    if (copied := _shards(args)) is not None:
        return copied
    release = Release.at(place_of(args), version=args.release_version, expect=args.expect)
    report = download(
        release,
        args.out,
        where=args.where,
        ids=args.ids,
        limit=args.limit,
        existing=Existing(args.existing),
        connections=args.connections,
        on_progress=Progress("downloaded"),
    )
    size = human_bytes(report.image_bytes)
    already = f", {report.present:,} were there already" if report.present else ""
    maps = f", {counted(report.maps, 'label map')} beside them" if report.maps else ""
    made = f"{report.fetched:,} images downloaded to {args.out} ({size}){already}{maps}"
    look = {"look": shlex.join(["brainpress", "view", str(args.out)])}
    print(made if report.failed else told_end(made, look, ("verify", str(args.out))))
    for key in report.skipped:
        print(f"skipped {key}: it is there and is not the release's file", file=sys.stderr)
    for key, why in report.withdrawn.items():
        line = f"withdrawn since an earlier download, and still in {args.out}: {key}: {why}"
        print(one_line(line), file=sys.stderr)
    for key, why in report.failed.items():
        print(one_line(f"failed {key}: {why}"), file=sys.stderr)
    if report.failed:
        print(
            f"brainpress download: {len(report.failed) + report.not_tried:,} images are missing;"
            " run the same command again, and `brainpress verify` on the release if that does"
            " not help",
            file=sys.stderr,
        )
        return 1
    return 0


def _shards(args: argparse.Namespace) -> int | None:
    """Download a set of tar shards, whole; None where none lies there."""
    from manifests.commands import mirror
    from manifests.volumes.shard_index import read_index

    store = place_of(args)
    if read_index(store) is None:
        return None
    if args.where is not None or args.ids or args.limit or args.release_version:
        raise ReleaseError(
            f"{store.uri} is a set of shards, which is downloaded whole; `brainpress shards"
            " --where` makes others of the release"
        )
    args.to_endpoint_url = None
    return mirror.run(args)
