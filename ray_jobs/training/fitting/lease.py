"""One command at a time trains into a folder: the lease that changes of a release take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from manifests.changes.lease import Lease, acquire
from manifests.storage import open_to_write
from ray_jobs.work_folder import WorkFolder


@contextmanager
def held(out: WorkFolder) -> Iterator[Lease]:
    """The lease of a run's folder for the time of a block; a dead holder's is taken over.

    Raises:
        ReleaseError: another command trains into it now.
    """
    lease = acquire(open_to_write(out.where), "train")
    try:
        with lease.beating():
            yield lease
    finally:
        lease.free()
