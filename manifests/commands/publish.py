"""Publish a release: check all of it, stamp version and date, give it its page, open it to anyone.

Nothing is written where the release does not verify. Of a bucket, the public-read policy is set for
the release's prefix and nothing wider. The same command again changes nothing; after a change of
the release it publishes the next version, and earlier ones stay at hand."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.commands.shared import Progress, add_release, at_least_one, print_findings
from manifests.errors import ReleaseError
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.publish.plan import PublishOptions
    from manifests.publish.publication import Publication
    from manifests.query.release import Release
    from manifests.storage.base import Store

EXAMPLES = """\
examples:
  brainpress publish s3://bucket/release --license CC-BY-4.0 --author "The Example Lab"
  brainpress publish RELEASE --license CC0-1.0 --private
  brainpress publish RELEASE --license CC0-1.0 --evaluation report
  brainpress publish s3://bucket/release --changes "A sample was withdrawn." --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.format.licenses import LICENSE_URLS

    add_release(parser)
    parser.add_argument(
        "--license",
        metavar="SPDX",
        help=f"{', '.join(LICENSE_URLS)}; asked for where nobody chose one yet",
    )
    parser.add_argument(
        "--author", action="append", default=[], metavar="NAME", help="may be repeated"
    )
    parser.add_argument("--name", help="of the dataset")
    parser.add_argument(
        "--release-version",
        metavar="X.Y.Z",
        help="default: 1.0.0, then the next minor (grown) or patch (withdrawn from, evaluated)",
    )
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="of the version (default: today, UTC)")
    parser.add_argument("--changes", metavar="TEXT", help="what is new, for CHANGES")
    parser.add_argument("--url", metavar="ADDRESS", help="the public address of its page")
    parser.add_argument("--private", action="store_true", help="leave the bucket's policy as it is")
    parser.add_argument(
        "--evaluation",
        metavar="FOLDER",
        type=Path,
        help="the --out of `brainpress evaluate RELEASE`: for the data card and the page",
    )
    parser.add_argument(
        "--despite-failed-audit",
        action="store_true",
        help="publish though the privacy audit of the evaluation failed; the data card says so",
    )
    parser.add_argument(
        "--viewer",
        metavar="PATH|URL",
        help="a niivue.umd.js for the page (default: a pinned one from a public mirror)",
    )
    parser.add_argument(
        "--connections",
        type=at_least_one,
        default=8,
        metavar="N",
        help="at once, to check the release (default: 8)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, say what would be written"
    )
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    from manifests.publish.plan import PublishOptions
    from manifests.publish.publication import publish
    from manifests.query.release import Release

    options = PublishOptions(
        license=args.license,
        authors=tuple(args.author),
        name=args.name,
        version=args.release_version,
        date=args.date or datetime.now(UTC).date().isoformat(),
        changes=args.changes,
        url=args.url,
        private=args.private,
        viewer=args.viewer,
        evaluation=args.evaluation,
        despite_failed_audit=args.despite_failed_audit,
    )
    release = Release.open(args.release)
    if not args.private:
        _refuse_wildcards(release.place)
    options = _with_license(release, options)
    done = publish(
        release,
        options,
        dry_run=args.dry_run,
        connections=args.connections,
        on_progress=Progress("checked"),
    )
    if not done.report.ok:
        print_findings(done.report.findings)
        errors = sum(finding.severity == "error" for finding in done.report.findings)
        print(
            f"brainpress publish: {release.store.uri} does not verify ({errors:,} errors); nothing"
            " was written",
            file=sys.stderr,
        )
        if any(finding.code == "sample-failed" for finding in done.report.findings):
            print("samples that failed can be taken out: brainpress withdraw", file=sys.stderr)
        return 1
    if done.warning:
        print(one_line(f"warning: {done.warning}"), file=sys.stderr)
    if done.mended:
        print(one_line(done.mended))
    _tell(release.store, done, dry_run=args.dry_run)
    if args.private or release.place.is_local:
        return 0
    return _open(release.place, dry_run=args.dry_run, url=args.url)


def _with_license(release: Release, options: PublishOptions) -> PublishOptions:
    """The options with a licence that somebody chose: a person at a terminal is asked.

    Raises:
        ReleaseError: nobody is there to be asked.
    """
    from dataclasses import replace

    from manifests.format.licenses import LICENSE_URLS, license_of_model
    from manifests.publish.checks import UnchosenLicenseError, settled

    try:
        settled(release.document, options)
        return options
    except UnchosenLicenseError:
        pass
    choices = list(LICENSE_URLS)
    of_model = license_of_model(release.document.model)[1]
    card = f" (its model's card names {one_line(of_model)})" if of_model else ""
    if not sys.stdin.isatty():
        raise ReleaseError(
            f"{release.store.uri}: nobody chose a licence for this release{card}; choose one with"
            f" --license: {', '.join(choices)}"
        )
    print(f"Under which licence is this release published?{card}", file=sys.stderr)
    for number, name in enumerate(choices, start=1):
        print(f"  {number}  {name:<13} {LICENSE_URLS[name]}", file=sys.stderr)
    print("number or name: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if answer.isdecimal() and 1 <= int(answer) <= len(choices):
        answer = choices[int(answer) - 1]
    chosen = replace(options, license=answer)
    settled(release.document, chosen)
    return chosen


def _tell(store: Store, done: Publication, *, dry_run: bool) -> None:
    images = f"{done.report.images:,} images verified"
    if not done.written:
        print(f"nothing to publish: version {done.version} of {done.date} stands ({images})")
    elif not done.new:
        would = "would be " if dry_run else ""
        print(f"{images}; version {done.version} of {done.date} stays")
        print(f"{len(done.written):,} files {would}brought up to date: {_some(done.written)}")
    else:
        would = "would be published" if dry_run else "published"
        print(f"{images}; version {done.version} of {done.date} {would}: {store.uri}")
        for line in done.changes:
            print(f"  - {one_line(line)}")
        if dry_run:
            print(f"{len(done.written):,} files would be written: {_some(done.written)}")
    if done.removed:
        would = "would be " if dry_run else ""
        print(f"{len(done.removed):,} files of the page before {would}removed")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "")


def _refuse_wildcards(store: Store) -> None:
    from manifests.publish.bucket_policy import public_statements

    if not store.is_local:
        public_statements(store.bucket, store.prefix.rstrip("/"))  # type: ignore[attr-defined]


def _open(store: Store, *, dry_run: bool, url: str | None) -> int:
    """Let strangers in, and say where."""
    from manifests.publish.bucket_policy import (
        PolicyError,
        check_strangers,
        open_to_everyone,
        public_address,
        public_statements,
        why_closed,
    )
    from manifests.storage.s3.store import S3Store

    assert isinstance(store, S3Store)
    if dry_run:
        statements = public_statements(store.bucket, store.prefix.rstrip("/"))
        print(f"the policy of bucket {store.bucket} would have, besides what it has:")
        print(json.dumps(statements, indent=2))
        return 0
    try:
        changed = open_to_everyone(store)
        check_strangers(store)
    except PolicyError:
        if why_closed(store) is not None:
            raise
        changed = False  # somebody else opened it, who may
    now = "can now" if changed else "could already"
    print(f"anyone {now} list and read {store.uri}/: {url or public_address(store)}")
    return 0
