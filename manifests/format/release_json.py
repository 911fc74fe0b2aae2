"""Whether a release.json has the shape that its readers rely on; it may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.digests import DIGEST, sha256
from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import MANIFEST_KEY, RELEASE_FORMAT, RELEASE_KEY, RELEASE_VERSION
from manifests.storage.base import Store, check_key
from manifests.text import is_plain

MOST_COLUMNS = 1000
SHARDS_KEYS = ("index.json", "index.parquet")  # of a set of tar shards
NOTES = ("opened_version", "opened_files")
_TEXTS = ("name", "fingerprint", "license")


def check_release(release: Mapping[str, Any], where: str) -> None:
    """Raise unless every field that a reader looks at is there, and of the kind it should be.

    Raises:
        ReleaseError: the first that is not; exit code 1.
    """
    try:
        _check_about(release)
        _check_columns(release)
        _check_files(release)
    except KeyError as error:
        line = f"{where}: release.json is damaged (it has no {error.args[0]!r})"
        raise ReleaseError(line, exit_code=1) from None
    except _ShapeError as error:
        raise ReleaseError(f"{where}: release.json is damaged ({error})", exit_code=1) from None


class _ShapeError(Exception):
    """A field of another kind."""


def _check_about(release: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        _text(release[name], name)
    _whole(release["seed"], "seed")
    for name in ("model", "sampler", "fields"):
        _kind(release[name], dict, name)
    _text(release["model"]["name"], "model.name")
    for name in ("description", "attribution", "license"):
        _kind(release["model"].get(name) or "", str, f"model.{name}")
    _kind(release["software"], dict, "software")
    _text(release["software"]["version"], "software.version")
    _kind(release.get("image", {}), dict, "image")
    if release.get("space") is not None:
        _text(release["space"], "space")
    _kind(release.get("date") or "", str, "date")
    _kind(release.get("license_text") or "", str, "license_text")
    for name in _kind(release.get("chosen") or [], list, "chosen"):
        _text(name, "chosen")
    for author in _kind(release["authors"], list, "authors"):
        _text(author, "authors")
    counts = _kind(release["counts"], dict, "counts")
    for name in ("samples", "ok", "failed", "image_bytes"):
        _whole(counts[name], f"counts.{name}", least=0)
    _whole(counts.get("withdrawn", 0), "counts.withdrawn", least=0)
    _kind(release.get("suffixes", []), list, "suffixes")
    source = release.get("source")
    if source is not None:
        _kind(source, dict, "source")
        _text(source["uri"], "source.uri")
        _whole(source["samples"], "source.samples", least=0)


def _check_columns(release: Mapping[str, Any]) -> None:
    for name in ("columns", "quality"):
        columns = _kind(release[name], list, name)
        if len(columns) > MOST_COLUMNS:
            raise _ShapeError(f"{len(columns)} {name}, expected at most {MOST_COLUMNS}")
        for column in columns:
            _kind(column, dict, name)


def _check_files(release: Mapping[str, Any]) -> None:
    for key, digest in _kind(release["files"], dict, "files").items():
        _stored(key, digest, "files")
    _ = release["files"][MANIFEST_KEY]
    parts = _kind(release["parts"], list, "parts")
    for part in parts:
        _kind(part, dict, "parts")
        _stored(part["key"], part["sha256"], "parts")
        _whole(part["rows"], "parts.rows", least=0)
    if parts:
        _whole(release["shard_size"], "shard_size", least=1)


def _stored(key: Any, digest: Any, field: str) -> None:
    try:
        check_key(_kind(key, str, field))
    except ReleaseError as error:
        raise _ShapeError(f"{field}: {error}") from None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise _ShapeError(f"{field}: {key} has no SHA-256")


def _kind(value: Any, kind: type, field: str) -> Any:
    if not isinstance(value, kind):
        raise _ShapeError(f"{field} is {_short(value)}, expected {_NAMES[kind]}")
    return value


_NAMES: dict[type, str] = {dict: "an object", list: "a list", str: "text"}


def _text(value: Any, field: str) -> None:
    """Text on one line, as it is shown to people."""
    if not isinstance(value, str) or not value or not is_plain(value):
        raise _ShapeError(f"{field} is {_short(value)}, expected a line of text")


def _whole(value: Any, field: str, *, least: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _ShapeError(f"{field} is {_short(value)}, expected a whole number")
    if least is not None and value < least:
        raise _ShapeError(f"{field} is {value}, expected at least {least}")


def _short(value: Any) -> str:
    return ascii(value)[:60]


def check_digest(text: str) -> str:
    """A SHA-256 as a person gives it. Raises ReleaseError for what is none."""
    digest = text.strip().lower()
    if not DIGEST.fullmatch(digest):
        raise ReleaseError(f"--expect {text!a:.80}: expected a SHA-256, 64 hexadecimal digits")
    return digest


def check_expected(data: bytes, expect: str, where: str) -> None:
    """Raise unless the bytes of a release.json have the digest that its reader was told.

    Raises:
        ReleaseError: another one; exit code 1.
    """
    expected, found = check_digest(expect), sha256(data)
    if found != expected:
        raise ReleaseError(
            f"{where} is not the release that you expect: the SHA-256 of its release.json is"
            f" {found}, expected {expected}. It was published anew, or changed; a version that was"
            " published before is read with --release-version",
            exit_code=1,
        )


def read_release(
    store: Store, data: bytes | None = None, *, expect: str | None = None
) -> dict[str, Any]:
    """The content of release.json, where a reader starts.

    Args:
        data: its bytes, where they were read already.
        expect: the SHA-256 that it must have.

    Raises:
        ReleaseError: there is no release there, it is not finished, it is of a later format, or
            it is not the one expected.
    """
    try:
        data = store.get(RELEASE_KEY, most=MOST_JSON_BYTES) if data is None else data
    except KeyError:
        raise ReleaseError(_why_no_release(store)) from None
    if expect is not None:
        check_expected(data, expect, store.uri)
    release = parse_json(data, f"{store.uri}/{RELEASE_KEY}")
    if release.get("format") != RELEASE_FORMAT:
        raise ReleaseError(f"{store.uri}/{RELEASE_KEY} is not of a brainpress release")
    if release.get("version") != RELEASE_VERSION:
        raise ReleaseError(
            f"{store.uri}: release format {release.get('version')!r}, this brainpress reads"
            f" {RELEASE_VERSION}; install a newer one"
        )
    check_release(release, store.uri)
    return without_notes(release)


def without_notes(release: dict[str, Any]) -> dict[str, Any]:
    """A release.json without what `versions.open_version` notes in one that it has read."""
    return {name: value for name, value in release.items() if name not in NOTES}


def _why_no_release(store: Store) -> str:
    try:
        begun = next(iter(store.list("manifest/")), None)
        anything = begun or next(iter(store.list()), None)
        shards = anything and all(map(store.look, SHARDS_KEYS))
    except ReleaseError:  # it does not list its files
        return f"{store.uri}: no release there (no {RELEASE_KEY}); check the address"
    if begun is not None:
        return (
            f"{store.uri}: a release is being made here and is not finished (no {RELEASE_KEY} yet);"
            " see `brainpress status`, or run its `generate` command again"
        )
    if shards:
        return (
            f"{store.uri}: these are shards of a release: `verify`, `publish`, `mirror` and"
            " `download` take them whole"
        )
    if anything is None:
        return f"{store.uri}: no release there, it is empty or does not exist; check the address"
    return f"{store.uri}: no release there (no {RELEASE_KEY}); check the address"
