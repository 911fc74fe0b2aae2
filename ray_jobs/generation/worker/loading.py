"""The model on a worker: loaded with what the options name, patiently, and the one of the plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeVar

from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.generation.options import LOADER
from ray_jobs.generation.worker.assignment import Assignment
from ray_jobs.generation.worker.environment import one_thread
from ray_jobs.generation.worker.fetched import fetched

if TYPE_CHECKING:
    from ldm.models.base import LoadedModel

LOAD_PAUSE_SECONDS = 2.0

T = TypeVar("T")


def load_model(assignment: Assignment) -> LoadedModel:
    """The model of an assignment.

    Waits for an S3 server that is away as patiently as for the release's.

    Raises:
        JobError, LdmError: in one line, why no worker can load it: no such loader, no model
            there, a damaged one, or another than the plan's.
    """
    told = assignment
    try:
        load = resolve_name(told.loader)
    except (ImportError, AttributeError, ValueError) as error:
        expected = 'expected "module:function", importable on every worker'
        raise JobError(f"loader {told.loader}: {error}; {expected}") from error
    more = {"compiled": True} if told.compiled else {}
    until = time.monotonic() + told.storage_patience_seconds

    def loaded() -> LoadedModel:
        place = told.model
        if told.loader == LOADER:
            place = fetched(told.model, told.model_fingerprint)
        given = {"device": told.device, "precision": told.precision, **more}
        try:
            return load(place, **given)
        except LdmError:
            if place == told.model:
                raise
        return load(told.model, **given)  # what the machine had fetched was damaged

    with one_thread(told.device):
        model = patiently(loaded, until=until)
    if model.fingerprint != told.model_fingerprint:
        raise JobError(
            f"model {told.model}: another one lies there on a worker's machine "
            f"(fingerprint {model.fingerprint[:12]}, expected "
            f"{told.model_fingerprint[:12]}); copy it to every machine, or use s3://"
        )
    return model


def patiently(load: Callable[[], T], *, until: float) -> T:
    """What `load` gives; again, until that monotonic second, while an S3 server is away."""
    from manifests.storage.s3.errors import passes

    while True:
        try:
            return load()
        except Exception as error:
            link: BaseException | None = error
            while link is not None and not passes(link):  # told in one line, its causes behind it
                link = link.__cause__ or link.__context__
            if link is None or time.monotonic() > until:
                raise
            time.sleep(LOAD_PAUSE_SECONDS)
