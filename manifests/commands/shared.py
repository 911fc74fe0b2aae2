"""What the consumer's verbs have in common: option types, a progress line."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from manifests.errors import ReleaseError
from manifests.numbers import human_bytes
from manifests.terminal import Bar, draws
from manifests.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifests.query.release import Release
    from manifests.storage.base import Store
    from manifests.verify import Finding

PLACES = (
    "a release, a model, or the --out of any job: a folder, s3://bucket/prefix, the address of a"
    ' public release, or "demo"'
)
Run = Callable[[argparse.Namespace], int]
SHOWN_FINDINGS = 50
READINGS = 3  # of a release that is changed meanwhile


def add_release(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which release is read, and how."""
    told = (
        "the release: a folder, s3://bucket/prefix, or the address of a public one: https://,"
        " gs://, az://, hf://datasets/OWNER/NAME"
    )
    add_place(parser, told, metavar="RELEASE")


def add_place(parser: argparse.ArgumentParser, told: str, *, metavar: str = "PLACE") -> None:
    """The arguments that say what is looked at, `told` in the help, and how it is reached."""
    parser.add_argument("release", metavar=metavar, help=told)
    _add_endpoint(parser)
    parser.add_argument(
        "--anonymous",
        action="store_true",
        help="ask a bucket without credentials, also where there are some",
    )


def add_release_to_change(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which release is changed, and where it lies."""
    parser.add_argument(
        "release", metavar="RELEASE", help="the release: a folder or s3://bucket/prefix"
    )
    _add_endpoint(parser)


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint-url",
        metavar="URL",
        help="of the server that keeps the bucket (default: AWS_ENDPOINT_URL, else the provider's)",
    )


def place_of(args: argparse.Namespace) -> Store:
    """Where the release lies that `add_release` was told. Touches nothing yet."""
    from manifests.storage import open_store

    return open_store(args.release, endpoint_url=args.endpoint_url, anonymous=args.anonymous)


def release_to_change(args: argparse.Namespace) -> Release:
    """The release that `add_release_to_change` was told.

    Raises:
        ReleaseError: there is none; an address that is only read.
    """
    from manifests.query.release import Release
    from manifests.storage import open_to_write

    return Release.at(open_to_write(args.release, endpoint_url=args.endpoint_url))


def words_of(args: argparse.Namespace) -> str:
    """The release as a command names it, for a shell."""
    more = ["--endpoint-url", args.endpoint_url] if args.endpoint_url else []
    return shlex.join([args.release, *more])


def add_filter(parser: argparse.ArgumentParser, what: str, examples: str) -> None:
    """`--where`, and its grammar below the examples at the end of the help."""
    from manifests.query.where_tokens import GRAMMAR

    line = f"only {what} that satisfy it; see below"
    parser.add_argument("--where", metavar="FILTER", help=line)
    parser.epilog = examples + GRAMMAR


def count(text: str) -> int:
    """The type of an option that is a number of at least 0."""
    try:
        value = int(text.replace("_", "").replace(",", ""))
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def at_least_one(text: str) -> int:
    """The type of an option that is a number of at least 1."""
    value = count(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is too few: expected at least 1")
    return value


def names(text: str) -> list[str]:
    """The type of an option that is a list separated by commas."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; expected a,b,c")
    return found


def add_version(parser: argparse.ArgumentParser) -> None:
    """The option that says which published version of the release."""
    parser.add_argument(
        "--release-version",
        metavar="X.Y.Z",
        help="an earlier version that was published (default: what lies there)",
    )


def reads_whole(run: Run) -> Run:
    """A verb that begins again where the release is changed while it reads."""

    @wraps(run)
    def again(args: argparse.Namespace) -> int:
        from manifests.storage.base import ChangedError

        for _ in range(READINGS - 1):
            try:
                return run(args)
            except ChangedError:
                continue
        return run(args)

    return again


def print_findings(findings: Sequence[Finding]) -> None:
    """What `verify` found, a line each on stderr; of many the first."""
    for finding in findings[:SHOWN_FINDINGS]:
        line = f"{finding.severity} {finding.code} {finding.key}: {finding.text}"
        print(one_line(line), file=sys.stderr)
    if len(findings) > SHOWN_FINDINGS:
        left = len(findings) - SHOWN_FINDINGS
        print(f"... and {left:,} more findings (verify --json shows all)", file=sys.stderr)


class Progress:
    """A bar on stderr; nothing where stderr is not a terminal."""

    def __init__(self, verb: str) -> None:
        self._bar = Bar(sys.stderr, verb) if draws(sys.stderr) else None
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int, size: int) -> None:
        """`done` of `total` images, `size` bytes so far."""
        now = time.monotonic()
        if self._bar is None or (done < total and now - self._last < 0.2):
            return
        self._last = now
        rate = human_bytes(size / max(now - self._start, 1e-3))
        told = f"{done:,} of {total:,}, {human_bytes(size)}, {rate}/s"
        self._bar.show(done, total, told)
        if done == total:
            self._bar.close()


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """`--yes` and `--dry-run`, of a verb that takes something away."""
    parser.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing, say what would be changed"
    )


def confirmed(verb: str, question: str) -> bool:
    """Whether the person at the terminal says yes.

    Raises:
        ReleaseError: nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise ReleaseError(
            "nothing was changed: nobody is at a terminal to be asked; the same command with --yes"
            " does what is told above"
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print(f"brainpress {verb}: nothing was changed", file=sys.stderr)
    return False


def add_expect(parser: argparse.ArgumentParser) -> None:
    """The option that says which release.json it has to be."""
    parser.add_argument(
        "--expect",
        metavar="SHA256",
        help="of release.json, as the release's page and `brainpress info` show it; any other"
        " release is refused",
    )
