"""Check a release: read every file again, and compare it with the manifest and release.json.

Digests, sizes, the images and their headers, covariates and their scaling, counts, parts, BIDS
tables. The exit code is 1 if there is any error; warnings leave it 0. What each code means:
docs/verify.md."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from manifests.commands.shared import (
    Progress,
    add_expect,
    add_release,
    add_version,
    at_least_one,
    count,
    place_of,
    print_findings,
)
from manifests.errors import ReleaseError
from manifests.numbers import human_bytes
from manifests.text import json_text

if TYPE_CHECKING:
    from manifests.verify.findings import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    add_expect(parser)
    add_version(parser)
    parser.add_argument(
        "--json", action="store_true", help="print all findings as JSON: severity, code, key, text"
    )
    parser.add_argument(
        "--connections", type=at_least_one, default=8, metavar="N", help="at once (default: 8)"
    )
    parser.add_argument(
        "--sample",
        type=at_least_one,
        metavar="N",
        help="of a huge release, read only N images, drawn at random; of the others only presence"
        " and size are checked, by the storage's listing",
    )
    parser.add_argument(
        "--seed", type=count, default=0, metavar="S", help="which N are drawn (default: 0)"
    )
    parser.add_argument(
        "--go-on",
        action="store_true",
        help="do not read images again that a check on this machine found sound, also one that was"
        " killed, if the storage says that they are unchanged since",
    )
    parser.epilog = (
        "examples:\n  brainpress verify s3://bucket/release\n"
        "  brainpress verify s3://bucket/release --sample 1000 --seed 7"
    )


def run(args: argparse.Namespace) -> int:
    from manifests.commands.publishing.opening import check_closed
    from manifests.query.release import Release
    from manifests.verify import open_to_verify, verify
    from manifests.verify.findings import Report

    if (of_shards := _verified_shards(args)) is not None:
        return _tell(of_shards, args)
    # For people a release.json that is no good is told in one line, as by every other verb.
    opened = open_to_verify if args.json else Release.at
    release = opened(place_of(args), version=args.release_version, expect=args.expect)
    if isinstance(release, Report):
        report = release
    else:
        report = verify(
            release,
            connections=args.connections,
            sample=args.sample,
            seed=args.seed,
            trusting=args.go_on,
            on_progress=Progress("checked"),
        )
        check_closed(release, report)
    code = _tell(report, args)
    if not args.json:
        _tell_lost(report, args)
    return code


def _tell_lost(report: Report, args: argparse.Namespace) -> None:
    """How images are made again that are lost or damaged."""
    from manifests.verify.findings import REMADE

    if lost := sum(finding.code in REMADE for finding in report.findings):
        print(
            f"{lost:,} lost or damaged images can be made again, with the model that made them:"
            f" brainpress generate --repair --model MODEL --out {shlex.quote(args.release)}"
        )


def _verified_shards(args: argparse.Namespace) -> Report | None:
    """What was found of a set of tar shards; None where none lies there."""
    from manifests.verify.shards import verify_shards
    from manifests.volumes.shard_index import read_index

    store = place_of(args)
    index = read_index(store, expect=args.expect)
    if index is None:
        return None
    if args.sample or args.release_version:
        raise ReleaseError(
            f"{store.uri} is a set of shards: it is read whole, without --sample and"
            " --release-version"
        )
    return verify_shards(store, index, on_progress=Progress("checked"))


def _tell(report: Report, args: argparse.Namespace) -> int:
    """Print what was found; the exit code."""
    if args.json:
        print(json_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False)))
        return 0 if report.ok else 1
    print_findings(report.findings)
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    maps = f" and {report.maps:,} label maps" if report.maps else ""
    what = f"{report.images:,} images ({human_bytes(report.image_bytes)}){maps} of {report.uri}"
    verdict = "all is well" if report.ok else "NOT sound"
    print(f"{verdict}: {what}, {errors:,} errors, {warnings:,} warnings")
    if report.remembered:
        print(f"{report.remembered:,} of them were found sound before and are unchanged since")
    if report.not_read:
        how = "nothing, as the storage does not list its files"
        if not any(finding.code == "not-listed" for finding in report.findings):
            how = "only that they are there and their size"
        print(f"{report.not_read:,} images were not read (--seed {args.seed}): of them {how}")
    return 0 if report.ok else 1
