"""Where a job works: a folder that all machines share, or s3://bucket/prefix, of which each machine
has the part it needs in its cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from ldm.untrusted import MOST_BYTES
from manifests.storage import open_store, open_to_write
from manifests.storage.base import Store
from manifests.storage.threads import in_threads
from manifests.volumes.cache import default_folder
from ray_jobs.files import digest, output_folder, refuse_other_run

CACHE = "work"  # in $BRAINPRESS_CACHE, else in the user's cache folder
RUN = "run.json"


@dataclass(frozen=True)
class WorkFolder:
    """Such a place; it travels to workers as it is.

    All methods raise ReleaseError, in one line, where the storage refuses or is away.

    Attributes:
        where: the folder's whole path, or the s3:// URI.
        token: of the work that is done in a bucket: what lies in the cache of another is not its.
    """

    where: str
    token: str = ""

    @classmethod
    def claimed(
        cls, text: str, identity: dict[str, Any], *, what: str, free: Collection[str] = ()
    ) -> tuple[WorkFolder, dict[str, Any]]:
        """The place that `--out` names, which from now on is of this run, and with what that run
        was begun.

        Args:
            what: is to lie there, for the error.
            free: fields of the identity that may change within a run.

        Raises:
            JobError: another run was begun there, or nobody can write there.
        """
        if "://" not in text:
            folder = cls(str(output_folder(text, what=what)))
            return folder, refuse_other_run(folder.path / RUN, identity, free=free)
        uri = open_to_write(text).uri
        known = cls(uri, f"claim-{digest(uri)[:16]}").fetch(RUN, anew=True)
        known.parent.mkdir(parents=True, exist_ok=True)
        fresh = not known.exists()
        begun = refuse_other_run(known, identity, free=free, place=uri)
        if fresh:
            open_to_write(uri).put(RUN, known.read_bytes())
        folder = cls(uri, digest([uri, begun])[:16])
        if fresh:  # whatever is left here is of one that was removed there
            shutil.rmtree(folder.path, ignore_errors=True)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder, begun

    def below(self, key: str) -> WorkFolder:
        """A folder in it, as a place of its own."""
        return WorkFolder(f"{self.where}/{key}", f"{self.token}/{key}" if self.token else "")

    def of(self, fingerprint: str) -> WorkFolder:
        """The same place, read as one with that content: what is left here of another is not."""
        if not self.in_bucket:
            return self
        return WorkFolder(self.where, f"read-{digest([self.where, fingerprint])[:16]}")

    @classmethod
    def read(cls, text: str) -> WorkFolder:
        """A place of finished work, to be read."""
        if "://" not in text:
            return cls(str(Path(text).expanduser().absolute()))
        uri = open_store(text).uri
        return cls(uri, f"read-{digest(uri)[:16]}")

    @property
    def in_bucket(self) -> bool:
        return "://" in self.where

    @property
    def path(self) -> Path:
        """Where its files lie on this machine."""
        return default_folder(CACHE) / self.token if self.in_bucket else Path(self.where)

    @property
    def store(self) -> Store:
        """Of the bucket, with the connections that this process has already."""
        return _opened(self.where)

    def fetch(self, key: str, *, anew: bool = False) -> Path:
        """A file as one of this machine: as it is in the bucket, or not there.

        Args:
            anew: also where one of the same length is here; a short file always is fetched.
        """
        path = self.path / key
        if not self.in_bucket:
            return path
        store = self.store
        found = store.look(key)
        if found is None:
            path.unlink(missing_ok=True)
            return path
        here = path.stat().st_size if path.exists() else -1
        if anew or here != found.size or here <= MOST_BYTES:
            path.parent.mkdir(parents=True, exist_ok=True)
            side = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
            with side.open("wb") as stream:
                stream.writelines(store.get_chunks(key))
            os.replace(side, path)
        return path

    def fetch_all(self, keys: Iterable[str]) -> list[Path]:
        """Several files, a few at a time, in order."""
        return in_threads(self.fetch, keys) if self.in_bucket else [self.path / k for k in keys]

    def keys(self, prefix: str) -> set[str]:
        """Those of all files below a folder."""
        if self.in_bucket:
            return {entry.key for entry in self.store.list(prefix)}
        below = (self.path / prefix).rglob("*")
        return {path.relative_to(self.path).as_posix() for path in below}

    def put(self, key: str) -> None:
        """Send the file, which was written here whole; one that is not here is removed there."""
        if not self.in_bucket:
            return
        path = self.path / key
        if path.exists():
            self.store.put_file(key, path)
        else:
            self.store.delete(key)

    def put_folder(self, key: str, *, last: str) -> None:
        """Send a folder, its file `last` at the end: it says that the others are there."""
        if not self.in_bucket:
            return
        below = self.path / key
        files = {path.relative_to(self.path).as_posix() for path in below.rglob("*")}
        files = {file for file in files if (self.path / file).is_file()}
        for file in sorted(files - {f"{key}/{last}"}):
            self.put(file)
        self.put(f"{key}/{last}")

    def remove(self, key: str) -> None:
        """Remove a file, here and there."""
        (self.path / key).unlink(missing_ok=True)
        self.put(key)

    def __truediv__(self, key: str) -> str:
        """What a file is called to people."""
        return f"{self.where}/{key}"

    def __str__(self) -> str:
        return self.where


@lru_cache(maxsize=8)
def _opened(uri: str) -> Store:
    return open_store(uri)
