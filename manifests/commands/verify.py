"""Check a release: read every file again, and compare it with the manifest and release.json.

Digests, sizes, the images themselves, covariates and their scaling, counts, parts, metadata. The
exit code is 1 if there is any error; warnings leave it 0."""

from __future__ import annotations

import argparse
import json
import sys

from manifests.commands.shared import Progress, add_release, at_least_one
from manifests.numbers import human_bytes
from manifests.text import json_text, one_line

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    parser.add_argument(
        "--json", action="store_true", help="print all findings as JSON: severity, code, key, text"
    )
    parser.add_argument(
        "--connections", type=at_least_one, default=8, metavar="N", help="at once (default: 8)"
    )
    parser.epilog = "example:\n  brainpress verify s3://bucket/release"


def run(args: argparse.Namespace) -> int:
    from manifests.query import Release
    from manifests.verify import verify

    release = Release.open(args.release)
    report = verify(release, connections=args.connections, on_progress=Progress("checked"))
    if args.json:
        print(json_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False)))
        return 0 if report.ok else 1
    for finding in report.findings[:SHOWN]:
        line = f"{finding.severity} {finding.code} {finding.key}: {finding.text}"
        print(one_line(line), file=sys.stderr)
    if len(report.findings) > SHOWN:
        left = len(report.findings) - SHOWN
        print(f"... and {left:,} more findings (--json shows all)", file=sys.stderr)
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    what = f"{report.images:,} images ({human_bytes(report.image_bytes)}) of {report.uri}"
    verdict = "all is well" if report.ok else "NOT sound"
    print(f"{verdict}: {what}, {errors:,} errors, {warnings:,} warnings")
    return 0 if report.ok else 1
