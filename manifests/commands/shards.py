"""A release, or a part of it, as WebDataset tar shards with an index, for training.

The order is shuffled, so that each shard is a random sample. Each image's digest is checked while
it is copied. The same command run again after an interruption writes what is missing."""

from __future__ import annotations

import argparse
import re
import sys

from manifests.commands.shared import (
    Progress,
    add_expect,
    add_filter,
    add_release,
    add_version,
    at_least_one,
    count,
)
from manifests.numbers import UNITS, human_bytes
from manifests.terminal import told_end

EXAMPLES = """\
examples:
  brainpress shards s3://bucket/release
  brainpress shards RELEASE --out shards --where "age > 70" --size 500MB --seed 1

"""


def size(text: str) -> int:
    """The type of an option that is a size: 1GB, 500MB, 1e9.

    >>> size("1GB"), size("1.5 MB"), size("42")
    (1000000000, 1500000, 42)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?B)?", text.strip())
    unit = (found[2] or "B").replace("K", "k") if found else ""
    value = int(float(found[1]) * 1000 ** UNITS.index(unit)) if found else 0
    if not 1 <= value < 2**62:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected such as 1GB or 500MB")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    add_expect(parser)
    parser.add_argument(
        "--out",
        metavar="PLACE",
        help="a folder or s3://bucket/prefix (default: RELEASE-shards, beside the release)",
    )
    add_version(parser)
    add_filter(parser, "images", EXAMPLES)
    parser.add_argument("--size", type=size, default="1GB", help="of a shard, about (default: 1GB)")
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of the order (default: 0)"
    )
    parser.add_argument(
        "--connections", type=at_least_one, default=8, metavar="N", help="at once (default: 8)"
    )


def run(args: argparse.Namespace) -> int:
    from manifests.metadata.hub import MOST_IN_A_FOLDER
    from manifests.query.release import Release
    from manifests.storage import open_store
    from manifests.volumes.shard_index import FILES_BESIDE
    from manifests.volumes.shards import place_beside, write_shards

    endpoint = out_endpoint = args.endpoint_url  # of the release's bucket, and of the shards'
    if args.out is not None and not args.out.startswith("s3://"):
        out_endpoint = None
    elif args.out is not None and not args.release.startswith("s3://"):
        endpoint = None
    store = open_store(args.release, endpoint_url=endpoint, anonymous=args.anonymous)
    release = Release.at(store, version=args.release_version, expect=args.expect)
    out = args.out or place_beside(release.store.uri)
    done = write_shards(
        release,
        out,
        endpoint_url=out_endpoint,
        where=args.where,
        size=args.size,
        seed=args.seed,
        connections=args.connections,
        on_progress=Progress("written"),
    )
    whole = f"{done.samples:,} images in {done.shards:,} shards at {out} ({human_bytes(done.size)})"
    if (files := 2 * done.shards + FILES_BESIDE) > MOST_IN_A_FOLDER:
        print(
            f"warning: {files:,} files are more than the {MOST_IN_A_FOLDER:,} that the Hugging Face"
            " Hub takes in one folder; choose a larger --size for it",
            file=sys.stderr,
        )
    if not done.written:
        whole = f"nothing left to do: {whole}"
    elif done.present:
        whole += f", {done.present:,} shards were there already"
    print(told_end(whole, {}, ("verify", str(out))))
    return 0
