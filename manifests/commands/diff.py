"""How two versions of a release, or two releases, differ: samples, images, covariates, terms.

Samples are compared by their index, images by their SHA-256. The exit code is 0 where nothing
differs, 1 where something does, 2 where it cannot be told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from manifests.commands.shared import add_release, reads_whole
from manifests.errors import ReleaseError
from manifests.numbers import counted, ranges
from manifests.text import json_text, one_line

if TYPE_CHECKING:
    from manifests.query.difference import Difference
    from manifests.query.release import Release

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    parser.add_argument(
        "second", metavar="OTHER", nargs="?", help="another one (default: RELEASE itself)"
    )
    parser.add_argument(
        "--from", dest="first_version", metavar="X.Y.Z", help="the version of RELEASE"
    )
    parser.add_argument(
        "--to",
        dest="second_version",
        metavar="X.Y.Z",
        help="the version of OTHER (default of both: what lies there)",
    )
    parser.add_argument("--json", action="store_true", help="print all that differs as JSON")
    parser.epilog = (
        "examples:\n  brainpress diff s3://bucket/release --from 1.0.0\n"
        "  brainpress diff RELEASE --from 1.0.0 --to 1.1.0 --json\n"
        "  brainpress diff s3://bucket/release s3://mirror/release"
    )


@reads_whole
def run(args: argparse.Namespace) -> int:
    from manifests.query.difference import compare
    from manifests.storage.base import ChangedError

    second = args.second or args.release
    if second == args.release and args.first_version == args.second_version:
        raise ReleaseError(
            f"{second} is compared with itself: name another release, or a version with --from"
        )
    try:
        places = ((args.release, args.first_version), (second, args.second_version))
        first, other = (_opened(place, version, args) for place, version in places)
        found = compare(first, other)
    except ChangedError:
        raise
    except ReleaseError as error:  # 1 would say that they differ
        raise ReleaseError(str(error), exit_code=2) from error
    if args.json:
        print(json_text(json.dumps(found.to_json(), indent=2, ensure_ascii=False)))
    else:
        _tell(first, other, found)
    return 0 if found.none else 1


def _opened(place: str, version: str | None, args: argparse.Namespace) -> Release:
    from manifests.query.release import Release

    endpoint = args.endpoint_url if place.startswith("s3://") else None
    return Release.open(
        place,
        version=version,
        as_it_was=version is not None,
        endpoint_url=endpoint,
        anonymous=args.anonymous,
    )


def _tell(first: Release, second: Release, found: Difference) -> None:
    print(f"from {_which(first)}\nto   {_which(second)}")
    if found.none:
        print("the same: every sample, image and covariate, and the terms")
    for word, indices in (("added", found.added), ("removed", found.removed)):
        if indices:
            print(f"{word:<10} {_counted(indices)}")
    if found.withdrawn:
        print(f"withdrawn  {_counted(found.withdrawn)}")
        _some(f"sample {index}: {why}" for index, why in list(found.withdrawn.items())[: SHOWN + 1])
    if found.changed:
        print(f"changed    {_counted(found.changed)}")
        some = list(found.changed.items())[: SHOWN + 1]
        _some(f"sample {index}: {', '.join(names)}" for index, names in some)
    if found.columns:
        print(f"columns    {', '.join(found.columns)}")
    for line in found.terms:
        print(one_line(line))


def _which(release: Release) -> str:
    version = release.about.get("opened_version")
    samples = release.about["counts"]["samples"]
    return f"{release.store.uri}{f' {version}' if version else ''} ({samples:,} samples)"


def _counted(indices: Iterable[int]) -> str:
    found = list(indices)
    return f"{counted(len(found), 'sample')} ({ranges(found)})"


def _some(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        print(f"  {one_line(line)}" if number < SHOWN else "  ... (--json tells of all)")
