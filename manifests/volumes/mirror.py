"""A copy of a whole release, or of a set of its shards, that is the same one: byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from manifests.changes.seen import change_under_way
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import PLAN_KEY, RELEASE_KEY
from manifests.format.published import version_key
from manifests.format.schema import OK
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage.base import Chunk, Store
from manifests.storage.threads import OnProgress, in_threads
from manifests.volumes import shard_index
from manifests.volumes.images import images_of, maps_of

MARK_KEY = ".brainpress-mirror.json"  # there while the copy is being made
AT_ONCE = 256  # files, between two reports of progress
IN_MEMORY_BYTES = 16 * 2**20


@dataclass(frozen=True)
class File:
    """A file to copy; digest and size where they are known beforehand."""

    key: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    """All that a release, or a set of shards, consists of.

    Attributes:
        store: to be read from.
        files: but for the last.
        last: the key of the file that makes a copy complete.
        data: its bytes.
        about: what they say.
    """

    store: Store
    files: list[File]
    last: str
    data: bytes
    about: Mapping[str, Any]


@dataclass(kw_only=True)
class Mirrored:
    """What `mirror` did.

    Attributes:
        copied, present: files copied now, and those that were there already.
        removed: keys of what the copy before had more.
        size: of what was copied, in bytes.
        digest: of release.json, or index.json: what readers give to `--expect`.
    """

    copied: int = 0
    present: int = 0
    removed: list[str] = field(default_factory=list)
    size: int = 0
    digest: str = ""


def mirror(
    source: Store,
    target: Store,
    *,
    expect: str | None = None,
    on_progress: OnProgress | None = None,
) -> Mirrored:
    """Copy every file of the release or the shards at `source`; what closes them is written last.

    Each file is held against the digest that the source gives of it while it is copied. The copy
    has the same bytes, so the same digest of its release.json. Run again it goes on; where the
    source was published anew since, it brings the copy up to date.

    Args:
        expect: the SHA-256 of the source's release.json, or index.json.

    Raises:
        ReleaseError: nothing of the kind at `source`, or a file of it that is missing or not the
            one that was named (exit code 1); a target that holds something else.
        ChangedError: the source was changed meanwhile.
    """
    one, other = f"{source.uri}/", f"{target.uri}/"
    same_server = source.words[1:] == target.words[1:]
    if same_server and (one.startswith(other) or other.startswith(one)):
        raise ReleaseError(f"{target.uri} and {source.uri} overlap; choose another place")
    index = shard_index.read_index(source, expect=expect)
    if index is not None:
        return _copy(_whole_shards(source, index), target, on_progress)
    release = Release.at(source, expect=expect)
    if part_of := release.about.get("source"):
        raise ReleaseError(
            f"{source.uri} is a downloaded part of {part_of['uri']}: mirror that release itself"
        )
    with held(release) as checked:
        return _copy(_whole_release(checked), target, on_progress, release=release)


def _whole_release(release: Release) -> Whole:
    about = release.about
    data = release.store.get(RELEASE_KEY, most=MOST_JSON_BYTES)
    files = [*_images(release), *_maps(release)]
    files += [File(part["key"], part["sha256"]) for part in about["parts"]]
    files += _plan(release.store, PLAN_KEY)
    files += [File(key, digest) for key, digest in about["files"].items()]
    return Whole(store=release.store, files=files, last=RELEASE_KEY, data=data, about=about)


def _images(release: Release) -> list[File]:
    rows = release.query(f"status = '{OK}'", columns=["index", "path", "bytes", "sha256"])
    return [File(i.path, i.sha256, i.bytes) for i in images_of(rows, release.store.uri)]


def _maps(release: Release) -> list[File]:
    return [File(one.path, one.sha256, one.bytes) for one in maps_of(release)]


def _plan(store: Store, key: str) -> list[File]:
    """The one file of which nothing else tells the digest."""
    data = _get(store, key)
    return [] if data is None else [File(key, sha256(data), len(data))]


def _whole_shards(store: Store, index: Mapping[str, Any]) -> Whole:
    data = store.get(shard_index.INDEX_KEY, most=MOST_JSON_BYTES)
    files = [File(shard["url"], shard["sha256"], shard["bytes"]) for shard in index["shards"]]
    for shard in index["shards"]:
        line = shard_index.digest_line(shard["url"], shard["sha256"])
        files.append(File(shard_index.digest_key(shard["url"]), sha256(line), len(line)))
    files += [File(key, digest) for key, digest in index["files"].items()]
    files += _plan(store, shard_index.PLAN_KEY)
    return Whole(store=store, files=files, last=shard_index.INDEX_KEY, data=data, about=index)


def _copy(
    whole: Whole, target: Store, on_progress: OnProgress | None, *, release: Release | None = None
) -> Mirrored:
    before, stale = _there(target, whole)
    kept = {file.key for file in whole.files}
    stale = sorted({*stale, *(set(before) - kept)} - {whole.last} - kept)
    done = Mirrored(digest=sha256(whole.data), removed=stale)
    sizes = {entry.key: entry.size for entry in target.list()}
    missing = [file for file in whole.files if not _is_there(file, sizes, before)]
    done.present = len(whole.files) - len(missing)
    complete = MARK_KEY not in sizes and _get(target, whole.last) == whole.data
    if complete and not missing and not stale:
        return done
    target.check_writable()
    mark = {"fingerprint": whole.about["fingerprint"], "last": whole.last, "removed": stale}
    target.put(MARK_KEY, json_bytes(mark))
    for start in range(0, len(missing), AT_ONCE):
        some = missing[start : start + AT_ONCE]
        done.size += sum(in_threads(partial(_copy_one, whole.store, target), some))
        done.copied += len(some)
        if on_progress:
            on_progress(done.copied, len(missing), done.size)
    if release is not None:
        release.confirm()
    target.put(whole.last, whole.data)
    for key in stale:
        target.delete(key)
    target.delete(MARK_KEY)
    target.sweep()
    return done


def _there(target: Store, whole: Whole) -> tuple[dict[str, str], list[str]]:
    """What an earlier copy has, digests by key; and what one that was interrupted was to remove.

    Raises:
        ReleaseError: what is there is no copy of it.
    """
    if who := change_under_way(target):
        raise ReleaseError(
            f"{target.uri} is being changed by {who}; run the same command again when that has"
            " ended",
            exit_code=1,
        )
    mark = _get(target, MARK_KEY)
    about = parse_json(mark, f"{target.uri}/{MARK_KEY}") if mark else None
    stale = [str(key) for key in about["removed"]] if about else []
    last = _get(target, whole.last)
    if last is None and about is None:
        if next(iter(target.list()), None) is not None:
            raise ReleaseError(f"{target.uri} holds something else; choose an empty or new place")
        return {}, []
    there: Mapping[str, Any] = about or {}
    files: list[File] = []
    if last is not None and whole.last == RELEASE_KEY:
        copy = Release.at(target)
        there, files = copy.about, [*_images(copy), *_maps(copy)]
        files += [File(part["key"], part["sha256"]) for part in there["parts"]]
        files += _plan(target, PLAN_KEY)
        files += [File(key, digest) for key, digest in there["files"].items()]
    elif last is not None and (index := shard_index.read_index(target)) is not None:
        there, files = index, _whole_shards(target, index).files
    if there.get("fingerprint") != whole.about["fingerprint"] or there.get("source"):
        raise ReleaseError(
            f"{target.uri} holds something else"
            f" ({'a downloaded part' if there.get('source') else 'of another release'}); choose an"
            " empty or new place"
        )
    if (newer := _version(there)) > _version(whole.about):
        raise ReleaseError(
            f"{target.uri} holds version {'.'.join(map(str, newer))} of it, and"
            f" {whole.store.uri} an earlier one; choose an empty or new place"
        )
    return {file.key: file.sha256 or "" for file in files}, stale


def _version(about: Mapping[str, Any]) -> tuple[int, ...]:
    """As which a release was published; of shards, and where it was not, nothing."""
    published = about.get("published")
    return version_key(published.get("version")) if isinstance(published, dict) else ()


def _is_there(file: File, sizes: Mapping[str, int], before: Mapping[str, str]) -> bool:
    """Whether a file need not be copied: each is whole or not there at all.

    Args:
        before: digests of what the copy before consists of, by key.
    """
    if file.key not in sizes or (file.bytes is not None and sizes[file.key] != file.bytes):
        return False
    if file.key in before:
        return before[file.key] == file.sha256
    return file.bytes is not None  # of an interrupted copy; documents are few and small


def _copy_one(source: Store, target: Store, file: File) -> int:
    """Copy a file; its size. Raises ReleaseError where it is not the one that was named."""
    size = 0

    def checked() -> Iterator[Chunk]:
        nonlocal size
        digest = hashlib.sha256()
        for chunk in source.get_chunks(file.key, most=file.bytes):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if file.sha256 is not None and digest.hexdigest() != file.sha256:
            raise ReleaseError(
                f"{source.uri}/{file.key}: its SHA-256 is {digest.hexdigest()}, expected"
                f" {file.sha256}; see `brainpress verify`",
                exit_code=1,
            )

    try:
        if file.bytes is not None and file.bytes <= IN_MEMORY_BYTES:
            target.put(file.key, b"".join(checked()))
        else:
            target.put_chunks(file.key, checked())
    except KeyError:
        line = f"{source.uri}/{file.key} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    return size


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key, most=MOST_JSON_BYTES)
    except KeyError:
        return None
