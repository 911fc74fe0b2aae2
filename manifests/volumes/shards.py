"""A release as WebDataset tar shards with an index, for training that reads large files whole."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage import open_to_write
from manifests.storage.base import Store
from manifests.storage.threads import OnProgress
from manifests.volumes.images import choose, fetch
from manifests.volumes.shard_index import (
    PLAN_KEY,
    SHARDS_FORMAT,
    SHARDS_VERSION,
    digest_key,
    digest_line,
    index_files,
    shard_key,
)
from manifests.volumes.shard_plan import (
    BLOCK,
    END,
    Sample,
    TarPlan,
    padded,
    plan_shards,
    tar_header,
)

SHARD_BYTES = 10**9
CONNECTIONS = 8
AHEAD_BYTES = 64 * 2**20  # of images fetched and not yet written


@dataclass(frozen=True, kw_only=True)
class Written:
    """What `write_shards` did.

    Attributes:
        shards, samples, size: of the whole set; size in bytes.
        written, present: shards written now, and those that were there already.
    """

    shards: int
    samples: int
    size: int
    written: int
    present: int


def write_shards(
    release: Release,
    out: str | Path,
    *,
    endpoint_url: str | None = None,
    where: str | None = None,
    size: int = SHARD_BYTES,
    seed: int = 0,
    connections: int = CONNECTIONS,
    on_progress: OnProgress | None = None,
) -> Written:
    """Write the chosen images as tar shards at a folder or s3://bucket/prefix, the index last.

    The same release and options give the same bytes. A shard is whole before it has its name, and
    its digest lies beside it before it counts as done; so the same command run again writes what
    is missing. Few images are in memory at a time; for S3, a shard is first a temporary file.

    Args:
        endpoint_url: of the server that keeps the bucket of `out`, where it is not the usual one.
        size: of a shard, in bytes, about.
        seed: of the order.

    Raises:
        ReleaseError: no such rows; a place that holds something else, or shards of another release
            or other options; an image that is missing or broken (exit code 1).
    """
    if size < 1:
        raise ReleaseError(f"shards of {size} bytes: expected at least 1")
    if seed < 0:
        raise ReleaseError(f"seed {seed}: expected 0 or more")
    target = open_to_write(out, endpoint_url=endpoint_url)
    with held(release) as checked:
        rows = choose(checked, where=where)
    _keep_apart(target, release.store)
    begun = _check_place(target, asked := _plan_document(release, where, size, seed))
    plan = plan_shards(rows, size=size, seed=seed, uri=release.store.uri)
    if not begun:
        target.check_writable()
        target.put(PLAN_KEY, json_bytes(asked))
    digests = _done(target, plan)
    pending = [shard for shard in range(plan.count) if shard not in digests]
    copy = _Copy(release.store, target, plan, connections, on_progress)
    copy.total = sum(plan.starts[shard + 1] - plan.starts[shard] for shard in pending)
    try:
        for shard in pending:
            digests[shard] = copy.write(shard)
        for key, data in index_files(release, plan, digests, asked).items():
            target.put(key, data)
    finally:
        target.sweep()
    return Written(
        shards=plan.count,
        samples=plan.rows.num_rows,
        size=sum(plan.sizes),
        written=len(pending),
        present=plan.count - len(pending),
    )


def place_beside(uri: str) -> str:
    """Where the shards of a release go unless told: RELEASE-shards.

    Raises:
        ReleaseError: the release is a whole bucket, beside which is nothing, or is only read.
    """
    if "://" in uri and not uri.startswith("s3://"):
        raise ReleaseError(f"{uri} is only read: say where the shards go with --out")
    if uri.startswith("s3://") and "/" not in uri.removeprefix("s3://"):
        raise ReleaseError(f"{uri} is a whole bucket: say where the shards go with --out")
    return f"{uri}-shards"


class _Copy:
    """Copies images from a release into shards, and counts them."""

    def __init__(
        self,
        source: Store,
        target: Store,
        plan: TarPlan,
        connections: int,
        on_progress: OnProgress | None,
    ) -> None:
        self.source, self.target, self.plan = source, target, plan
        self.connections, self.on_progress = connections, on_progress
        self.total = self.done = self.bytes = 0

    def write(self, shard: int) -> str:
        """Write a shard and the file of its digest; the digest."""
        digest = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            for chunk in self._chunks(shard):
                digest.update(chunk)
                yield chunk

        self.target.put_chunks(shard_key(shard), chunks())
        found = digest.hexdigest()
        name = shard_key(shard)
        self.target.put(digest_key(name), digest_line(name, found))
        return found

    def _chunks(self, shard: int) -> Iterator[bytes]:
        for sample, data in self._fetched(self.plan.samples(shard)):
            for name, content in (
                (f"{sample.key}.nii.gz", data),
                (f"{sample.key}.json", sample.json),
            ):
                yield tar_header(name, len(content))
                yield content
                yield bytes(padded(len(content)) - len(content))
            self.done += 1
            self.bytes += len(data)
            if self.on_progress:
                self.on_progress(self.done, self.total, self.bytes)
        yield bytes(END)

    def _fetched(self, samples: Iterator[Sample]) -> Iterator[tuple[Sample, bytes]]:
        """Each sample with its image, in order; the next are fetched meanwhile."""
        ahead: deque[tuple[Sample, Future[bytes]]] = deque()
        held = 0
        pool = ThreadPoolExecutor(self.connections)
        try:
            for sample in chain(samples, [None]):
                while ahead and (
                    sample is None
                    or len(ahead) >= self.connections
                    or held + sample.image.bytes > AHEAD_BYTES
                ):
                    first, future = ahead.popleft()
                    held -= first.image.bytes
                    yield first, future.result()
                if sample is not None:
                    held += sample.image.bytes
                    ahead.append((sample, pool.submit(self._fetch, sample)))
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, sample: Sample) -> bytes:
        place = f"{self.source.uri}/{sample.image.path}"
        try:
            data = fetch(self.source, sample.image)
        except KeyError:
            line = f"{place} is missing from the release; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
        except ReleaseError as error:
            raise type(error)(f"{place}: {error}", error.exit_code) from error
        if len(data) != sample.image.bytes:
            expected = f"the manifest says {sample.image.bytes:,}"
            raise ReleaseError(f"{place} has {len(data):,} bytes, {expected}", exit_code=1)
        return data


def _plan_document(release: Release, where: str | None, size: int, seed: int) -> dict[str, Any]:
    """What the bytes of the shards are a function of."""
    about = release.about
    # The manifest of an earlier version stays as it was; its rows learn what was withdrawn since.
    since = (
        {"withdrawn": about["counts"].get("withdrawn", 0)} if about.get("opened_version") else {}
    )
    return {
        "format": SHARDS_FORMAT,
        "version": SHARDS_VERSION,
        "release": release.document.name,
        "fingerprint": release.document.fingerprint,
        "manifest_sha256": about["files"][MANIFEST_KEY],
        **since,
        "where": where,
        "size": size,
        "seed": seed,
    }


def _keep_apart(target: Store, source: Store) -> None:
    """Shards do not go among the files of a release, of which each must be in its documents."""
    inside = f"{target.uri}/".startswith(f"{source.uri}/")
    if inside or next(iter(target.list(RELEASE_KEY)), None) is not None:
        raise ReleaseError(
            f"{target.uri} is {'inside the' if inside else 'a'} release; shards need another place,"
            " such as one beside it"
        )


def _check_place(target: Store, asked: dict[str, Any]) -> bool:
    """Whether the same shards were begun there. Raises ReleaseError where it holds others."""
    try:
        data = target.get(PLAN_KEY, most=MOST_JSON_BYTES)
    except KeyError:
        if next(iter(target.list()), None) is not None:
            raise ReleaseError(
                f"{target.uri} holds something else (no {PLAN_KEY}); choose an empty or new place"
            ) from None
        return False
    there = parse_json(data, f"{target.uri}/{PLAN_KEY}")
    differ = [
        f"{name} {there.get(name)!a:.80}, now {value!a:.80}"
        for name, value in asked.items()
        if there.get(name) != value
    ]
    if differ:
        raise ReleaseError(
            f"{target.uri} holds other shards: {'; '.join(differ)}; choose another --out"
        )
    return True


def _done(target: Store, plan: TarPlan) -> dict[int, str]:
    """The digests of the shards that are there, whole, with their digest beside them."""
    sizes = {entry.key: entry.size for entry in target.list("shard-")}
    found = {}
    for shard, size in enumerate(plan.sizes):
        name = shard_key(shard)
        if sizes.get(name) == size and 0 < sizes.get(digest_key(name), 0) <= BLOCK:
            data = target.get(digest_key(name), most=BLOCK)
            digest = data[:64].decode(errors="replace")
            if data == digest_line(name, digest):
                found[shard] = digest
    return found
