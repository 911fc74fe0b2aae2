"""A model in a bucket, fetched once by the workers of a machine."""

from __future__ import annotations

from pathlib import Path

from ldm.models.description import CONFIG
from ldm.models.folder import describe_folder, read_file, verified
from ldm.untrusted import MOST_BYTES
from manifests.volumes.cache import default_folder
from ray_jobs.once import once

CACHE = "models"  # in $BRAINPRESS_CACHE, else in the user's cache folder


class _OtherModelError(Exception):
    """What lies in the bucket is not the model that is wanted."""


def fetched(source: str, fingerprint: str) -> str:
    """Where this machine has the model at `source`: in its cache; elsewhere as it is.

    A machine fetches a model of a bucket once, whose fingerprint is its name in the cache; it is
    `source` again where another lies there, or nothing can be written.

    Raises:
        LdmError: a file of it is missing or damaged.
    """
    if not source.startswith("s3://"):
        return source

    def fetch(folder: Path) -> None:
        described = describe_folder(source)
        if described.fingerprint != fingerprint:
            raise _OtherModelError
        folder.mkdir()
        for name in described.files:
            (folder / name).write_bytes(verified(source, name, described.files))
        (folder / CONFIG).write_bytes(read_file(source, CONFIG, most=MOST_BYTES))

    try:
        here = once(default_folder(CACHE) / fingerprint, fetch)
        if describe_folder(here).fingerprint == fingerprint:
            return str(here)
    except (OSError, _OtherModelError):
        pass
    return source
