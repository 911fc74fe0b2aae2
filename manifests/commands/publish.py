"""Publish a release: check all of it, stamp version and date, give it its page, open it to anyone.

Nothing is written where the release does not verify. Of a bucket, the public-read policy is set for
the release's prefix and nothing wider. The same command again changes nothing; after a change of
the release it publishes the next version, and earlier ones stay at hand."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.commands.publishing.choosing import text_of, with_authors, with_license
from manifests.commands.publishing.opening import (
    open_release,
    refuse_unlisted,
    refuse_wildcards,
    warn_if_open,
)
from manifests.commands.shared import (
    Progress,
    add_release_to_change,
    at_least_one,
    print_findings,
    release_to_change,
    words_of,
)
from manifests.errors import ReleaseError
from manifests.terminal import told_end
from manifests.text import one_line

if TYPE_CHECKING:
    from manifests.publish.publication import Publication
    from manifests.storage.base import Store

EXAMPLES = """\
examples:
  brainpress publish s3://bucket/release --license CC-BY-4.0 --author "The Example Lab"
  brainpress publish RELEASE --license CC-BY-SA-4.0 --private
  brainpress publish RELEASE --license CC-BY-4.0 \\
      --author "Lovelace, Ada (Example Lab) <0000-0002-1825-0097>" --doi 10.5281/zenodo.1234
  brainpress publish s3://mirror/release --as-is
  brainpress publish s3://bucket/release --changes "A sample was withdrawn." --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release_to_change(parser)
    parser.add_argument(
        "--license",
        metavar="SPDX",
        help="of https://spdx.org/licenses, such as CC-BY-4.0, or LicenseRef-NAME; asked for where"
        " nobody chose one yet",
    )
    parser.add_argument(
        "--license-file", metavar="FILE", type=Path, help="the text of a LicenseRef-NAME"
    )
    parser.add_argument(
        "--despite-model-license",
        action="store_true",
        help="publish under a licence that the model's does not allow; the data card says so",
    )
    parser.add_argument(
        "--author",
        action="append",
        default=[],
        metavar="NAME",
        help='whom to cite: "Family, Given (Affiliation) <ORCID>" or the name of an organisation;'
        " may be repeated; asked for where nobody was named yet",
    )
    parser.add_argument("--name", help="of the dataset")
    parser.add_argument(
        "--release-version",
        metavar="X.Y.Z",
        help="default: 1.0.0, then the next minor (grown) or patch (withdrawn from, evaluated)",
    )
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="of the version (default: today, UTC)")
    parser.add_argument("--changes", metavar="TEXT", help="what is new, for CHANGES")
    parser.add_argument(
        "--url", metavar="ADDRESS", help="the public address of its page (default: the bucket's)"
    )
    parser.add_argument("--doi", help="by which it is cited, such as 10.5281/zenodo.1234")
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="check it and open it, changing no byte: of a mirror of a published release, or of"
        " shards; no option that would change it goes with this",
    )
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
        help="publish though the privacy audit of the evaluation failed or was inconclusive; the"
        " data card says so",
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
        "--read-all",
        action="store_true",
        help="read every image again, also those that this machine found sound before and that the"
        " storage says are unchanged since",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, say what would be written"
    )
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    from manifests.metadata.citation import cited
    from manifests.publish.checks import refuse_unfinished
    from manifests.publish.plan import PublishOptions
    from manifests.publish.publication import publish
    from manifests.storage import open_to_write
    from manifests.volumes.shard_index import read_index

    place = open_to_write(args.release, endpoint_url=args.endpoint_url)
    if args.as_is or read_index(place) is not None:
        return _open_as_is(args, place)
    options = PublishOptions(
        license=args.license,
        license_text=text_of(args.license_file),
        despite_model_license=args.despite_model_license,
        authors=tuple(args.author),
        name=args.name,
        version=args.release_version,
        date=args.date or datetime.now(UTC).date().isoformat(),
        changes=args.changes,
        url=args.url,
        doi=args.doi,
        private=args.private,
        viewer=args.viewer,
        evaluation=args.evaluation,
        despite_failed_audit=args.despite_failed_audit,
    )
    release = release_to_change(args)
    if not args.private:
        refuse_wildcards(release.place)
        options = replace(options, found_at=_page_address(release.place))
    options = with_authors(release, with_license(release, options))
    refuse_unfinished(release, "publish")
    if not args.private:
        refuse_unlisted(release)
    done = publish(
        release,
        options,
        dry_run=args.dry_run,
        connections=args.connections,
        trusting=not args.read_all,
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
            print(
                "samples that failed can be drawn on (brainpress generate --redraw) or taken out"
                " (brainpress withdraw)",
                file=sys.stderr,
            )
        return 1
    if done.warning:
        print(one_line(f"warning: {done.warning}"), file=sys.stderr)
    if done.mended:
        print(one_line(done.mended))
    _tell(release.store, done, dry_run=args.dry_run)
    if not args.dry_run:
        published = release_to_change(args)
        print(f"cited as: {cited(published.document)}")
        made = f"SHA-256 of its release.json, for readers' --expect: {published.digest}"
        look = {"look": f"brainpress view {words_of(args)}"}
        copy = [("mirror", args.release, "s3://bucket/release")] if release.place.is_local else []
        print(told_end(made, look, *copy))
    if release.place.is_local:
        return 0
    if args.private:
        warn_if_open(release.place)
        return 0
    if not args.dry_run:
        refuse_unlisted(release_to_change(args))  # what came meanwhile
    return open_release(release.place, dry_run=args.dry_run, url=args.url)


def _open_as_is(args: argparse.Namespace, place: Store) -> int:
    from manifests.commands.publishing.as_is import open_as_is

    changing = (
        *("license", "license_file", "author", "name", "release_version", "date", "changes"),
        *("url", "doi", "private", "evaluation", "viewer"),
    )
    if given := [name for name in changing if getattr(args, name)]:
        option = "--" + given[0].replace("_", "-")
        raise ReleaseError(f"{option}: shards, and what is published --as-is, stay as they are")
    return open_as_is(
        place,
        dry_run=args.dry_run,
        connections=args.connections,
        trusting=not args.read_all,
    )


def _page_address(store: Store) -> str | None:
    """Where anybody will find its page; None of a folder."""
    from manifests.publish.strangers import public_address

    return None if store.is_local else public_address(store)  # type: ignore[arg-type]


def _tell(store: Store, done: Publication, *, dry_run: bool) -> None:
    images = f"{done.report.images:,} images verified"
    if done.report.remembered:
        images += f", {done.report.remembered:,} of them before and unchanged since"
    if done.report.maps:
        images += f", and {done.report.maps:,} label maps"
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
