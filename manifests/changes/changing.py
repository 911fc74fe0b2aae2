"""Changing a finished release: staged whole, decided in one step, then put in place by anybody.

1. The lease is taken, before anything is read; what somebody else decided and did not finish is
   finished first.
2. The new files are written beside the release, and a journal of them. A death so far leaves the
   release as it was.
3. The register names the journal: a compare-and-swap, and the moment from which readers see the
   new release (`manifests.changes.seen`). A death from here on leaves it to whoever comes next.
4. Each file is put in its place if what lies there is still what lay there in step 2; release.json
   last. What is to go is removed. The register forgets the journal, and the staged files go.

So a process that wakes up after its lease was taken over can neither decide anything, nor put an
old file over a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from manifests.changes.journal import JOURNAL, Change, read_change
from manifests.changes.lease import Lease, acquire
from manifests.changes.register import STAGED, Decided, staged_key
from manifests.digests import file_sha256, sha256
from manifests.errors import ReleaseError
from manifests.format.layout import RELEASE_KEY, shard_of
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.tombstones import bury
from manifests.storage.base import Store
from manifests.storage.threads import in_threads

File = bytes | Path
GetFile = Callable[[str], bytes]
NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(kw_only=True)
class Changing:
    """The right to change a release, while it lasts.

    Attributes:
        mended: what somebody else had decided, and this finished first.
    """

    store: Store
    lease: Lease
    mended: Change | None = None

    def commit(
        self,
        verb: str,
        files: Mapping[str, File],
        release_json: bytes,
        *,
        removed: Iterable[str] = (),
        reasons: Mapping[int, str] = NOTHING,
        read: Mapping[str, str] = NOTHING,
    ) -> None:
        """Make the release what it is to be: all of it, or, on an error before, none of it.

        Args:
            files: what is new, in its order, by key.
            removed: keys of what goes once release.json stands.
            reasons: of the samples that are withdrawn; buried in a part that grew meanwhile, too.
            read: etags of what new files were made from, by key; as it lies there now where absent.

        Raises:
            LostLeaseError: somebody else may change the release now.
        """
        store, identity = self.store, self.lease.register.identity
        new: dict[str, File] = {**files, RELEASE_KEY: release_json}

        def stage(key: str) -> tuple[str, str]:
            self.lease.check()
            return _put(store, staged_key(identity, key), new[key]), _etag(store, key)

        try:
            staged = dict(zip(new, in_threads(stage, new), strict=True))
            gone = list(removed)
            etags = in_threads(partial(_etag, store), gone)
            change = Change(
                verb=verb,
                files={key: digest for key, (digest, _) in staged.items()},
                before={key: read.get(key, etag) for key, (_, etag) in staged.items()},
                removed=dict(zip(gone, etags, strict=True)),
                reasons=reasons,
            )
            journal = change.to_bytes()
            store.put(staged_key(identity, JOURNAL), journal)
        except Exception:
            with suppress(ReleaseError):
                self._clean()
            raise
        self.lease.decide(
            Decided(identity=identity, journal=sha256(journal), release=change.release)
        )
        self._put_in_place(change, lambda key: _bytes(new[key]))

    def create(self, files: Mapping[str, File], release_json: bytes) -> None:
        """Write the files of a release that nobody reads yet, release.json last.

        Raises:
            ReleaseError: another one was closed there meanwhile (exit code 1).
        """
        for key, data in files.items():
            self.lease.check()
            _put(self.store, key, data)
        self.lease.renew()
        written = self.store.put_if_absent(RELEASE_KEY, release_json)
        if not written and self.store.get(RELEASE_KEY) != release_json:
            line = f"{self.store.uri}: somebody else closed this release just now"
            raise ReleaseError(f"{line}; run the same command again", exit_code=1)

    def finish_decided(self) -> None:
        """Finish what somebody else decided, and remove what was staged and never decided."""
        if (decided := self.lease.register.change) is not None:
            try:
                change = read_change(self.store, decided)
            except KeyError:
                self.lease.renew()  # or somebody else finished it
                key = staged_key(decided.identity, JOURNAL)
                line = f"{self.store.uri}/{key} is missing, by which a change is finished"
                raise ReleaseError(f"{line}; see `brainpress verify`", exit_code=1) from None
            self._put_in_place(change, self._staged(decided.identity, change))
            self.mended = change
        else:
            self._clean()

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files that no release.json names."""
        in_threads(self._remove, keys)

    def _remove(self, key: str, etag: str | None = None) -> None:
        self.lease.check()
        self.store.delete(key, etag=etag)

    def _staged(self, identity: str, change: Change) -> GetFile:
        def get(key: str) -> bytes:
            place = staged_key(identity, key)
            try:
                data = self.store.get(place)
            except KeyError:
                data = b""
            if sha256(data) != change.files[key]:
                self.lease.renew()  # or somebody else finished it
                line = f"{self.store.uri}/{place} is missing or was changed"
                raise ReleaseError(f"{line}; see `brainpress verify`", exit_code=1)
            return data

        return get

    def _put_in_place(self, change: Change, get: GetFile) -> None:
        in_threads(
            lambda key: self._put_one(key, change, get), sorted(change.files.keys() - {RELEASE_KEY})
        )
        self._put_one(RELEASE_KEY, change, get)
        gone = [(key, etag) for key, etag in change.removed.items() if etag]
        in_threads(lambda each: self._remove(*each), gone)
        self.lease.decide(None)
        self._clean()

    def _put_one(self, key: str, change: Change, get: GetFile) -> None:
        store, data = self.store, None
        while True:
            self.lease.check()
            etag = _etag(store, key)
            if etag != change.before[key]:  # put already, by whoever began, or changed by hand
                try:
                    there = store.get(key) if etag else b""
                except KeyError:
                    self.lease.renew()  # removed just now, by whoever has the lease
                    continue
                if sha256(there) == change.files[key]:
                    return
                self.lease.renew()
                if etag and shard_of(key) is not None:  # a worker made the part larger
                    table = table_from_bytes(there, f"{store.uri}/{key}")
                    buried = bury(table, change.reasons)
                    if buried is table:
                        return
                    data = parquet_bytes(buried)
            new = get(key) if data is None else data
            self.lease.check()
            if store.replace(key, new, etag=etag) if etag else store.put_if_absent(key, new):
                return
            data = None

    def _clean(self) -> None:
        """Remove all that is staged; nothing of it was decided, or all of it is in its place."""
        self.remove([entry.key for entry in self.store.list(f"{STAGED}/")])


@contextmanager
def changing(store: Store, verb: str, *, wait_seconds: float = 0.0) -> Iterator[Changing]:
    """The right to change a release, for the time of a block; nobody else has it meanwhile.

    Args:
        verb: what the release is changed by, as others are told.
        wait_seconds: for somebody else who changes it now.

    Raises:
        HeldError: somebody else does: who, since when, what he does.
        ReleaseError: the storage has no conditional writes, or cannot be written to.
    """
    lease = acquire(store, verb, wait_seconds=wait_seconds)
    try:
        with lease.beating():
            work = Changing(store=store, lease=lease)
            work.finish_decided()
            yield work
    finally:
        with suppress(ReleaseError):
            lease.free()
            store.sweep()


def _put(store: Store, key: str, data: File) -> str:
    if isinstance(data, Path):
        store.put_file(key, data)
        return file_sha256(data)
    store.put(key, data)
    return sha256(data)


def _bytes(data: File) -> bytes:
    return data if isinstance(data, bytes) else data.read_bytes()


def _etag(store: Store, key: str) -> str:
    found = store.look(key)
    return found.etag if found else ""
