"""A prepared cohort in a bucket: its small files are read there, each volume is fetched to a
machine once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ldm.untrusted import MOST_BYTES, parse_object
from manifests.storage import open_store
from manifests.storage.threads import in_threads
from manifests.volumes.cache import default_folder
from ray_jobs.errors import JobError
from ray_jobs.once import once

CACHE = "cohorts"  # in $BRAINPRESS_CACHE, else in the user's cache folder


class BucketFolder:
    """A folder of a job at s3://bucket/prefix.

    All methods raise ReleaseError, in one line, where the storage refuses or is away.
    """

    def __init__(self, uri: str) -> None:
        self.store = open_store(uri)
        self.uri = self.store.uri

    def json(self, key: str) -> dict[str, Any] | None:
        """The JSON object at `key`; None where there is none or it is damaged."""
        try:
            return parse_object(self.store.get(key, most=MOST_BYTES))
        except (KeyError, ValueError):
            return None

    def table(self, key: str, *, made_by: str) -> pd.DataFrame:
        """The table in a Parquet file.

        Raises:
            JobError: missing or damaged; run the job `made_by` again.
        """
        try:
            return pq.read_table(pa.BufferReader(self.store.get(key))).to_pandas()
        except (KeyError, pa.ArrowInvalid):
            told = f"{self.uri}/{key} is missing or damaged; run {made_by} again"
            raise JobError(told) from None

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of everything below `prefix`, by key."""
        return {entry.key: entry.size for entry in self.store.list(prefix)}

    def volume(self, key: str, sha256: str) -> Path:
        """A volume as a file of this machine, named by its digest.

        Raises:
            JobError: another one lies there than the cohort's table says.
        """
        path = default_folder(CACHE) / sha256[:2] / f"{sha256}.npy"
        return once(path, partial(self._fetch, key, sha256))

    def volumes(self, wanted: Iterable[tuple[str, str]]) -> list[Path]:
        """Volumes by key and digest, in order; several are fetched at a time."""
        return in_threads(lambda one: self.volume(*one), wanted)

    def _fetch(self, key: str, sha256: str, path: Path) -> None:
        wrong = f"{self.uri}/{key} is not the volume that its table names; run prepare again"
        try:
            with path.open("wb") as stream:
                stream.writelines(self.store.get_chunks(key))
            levels = np.load(path)
        except KeyError:
            raise JobError(f"{self.uri}/{key} is missing; run prepare again") from None
        except (ValueError, EOFError):
            raise JobError(wrong) from None
        if hashlib.sha256(levels.tobytes()).hexdigest() != sha256:
            raise JobError(wrong)


@lru_cache(maxsize=8)
def bucket_folder(uri: str) -> BucketFolder:
    """The folder at an address, opened once a process."""
    return BucketFolder(uri)


def volume_at(where: str, key: str, sha256: str) -> Path:
    """A volume of a cohort as a file of this machine.

    Args:
        where: of the cohort: a path, or an s3:// URI.
    """
    if "://" in where:
        return bucket_folder(where).volume(key, sha256)
    return Path(where) / key
