"""A copy of a whole release, or of a set of its shards, that is the same one: byte for byte.

From a folder, a bucket or an address of the web to a folder or bucket. Each file is held against
its digest while it is copied; release.json is written last and has the same SHA-256, so `--expect`
holds of the copy too. Run again after an interruption it goes on; after the release was published
anew it brings the copy up to date. `brainpress publish COPY --as-is` opens a copy in a bucket to
everyone."""

from __future__ import annotations

import argparse

from manifests.commands.shared import Progress, add_expect, add_release, place_of, reads_whole
from manifests.numbers import human_bytes
from manifests.terminal import told_end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    parser.add_argument("out", metavar="PLACE", help="a folder or s3://bucket/prefix")
    parser.add_argument(
        "--to-endpoint-url",
        metavar="URL",
        help="of the server that keeps the bucket of PLACE (default: AWS_ENDPOINT_URL, else the"
        " provider's)",
    )
    add_expect(parser)
    parser.epilog = (
        "examples:\n  brainpress mirror s3://bucket/release s3://other-bucket/release\n"
        "  brainpress mirror s3://bucket/release-shards shards"
    )


@reads_whole
def run(args: argparse.Namespace) -> int:
    from manifests.storage import open_to_write
    from manifests.volumes.mirror import mirror

    target = open_to_write(str(args.out), endpoint_url=args.to_endpoint_url)
    source = place_of(args)
    done = mirror(source, target, expect=args.expect, on_progress=Progress("copied"))
    already = f", {done.present:,} were there already" if done.present else ""
    if not done.copied and not done.removed:
        print(f"nothing to copy: {target.uri} is the same")
    else:
        print(f"{done.copied:,} files copied to {target.uri} ({human_bytes(done.size)}){already}")
    if done.removed:
        print(f"{len(done.removed):,} files removed that it has no more")
    made = f"SHA-256 for readers' --expect, the same as of the original: {done.digest}"
    end = ["--endpoint-url", args.to_endpoint_url] if args.to_endpoint_url else []
    print(told_end(made, {}, ("publish", str(args.out), *end, "--as-is")))
    return 0
