"""Which of the things that brainpress makes lies at a place, by its mark there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from ldm.untrusted import MOST_BYTES, parse_object
from manifests.format.layout import PLAN_KEY, RELEASE_KEY
from manifests.publish.evaluation import JSON_KEY
from manifests.storage.base import Store
from ray_jobs.errors import JobError

RUN = "run.json"  # with what any job in a folder was begun
COHORT_MARK, LATENTS_MARK = "cohort.json", "latents.json"
MODEL_MARK = "model.json"
SHIPPED, PUBLISHED = "demo", "monai"  # names of models that are no folders here


class Kind(StrEnum):
    """Of what lies at a place."""

    RELEASE = "release"
    MODEL = "model"
    TRAINING = "training run"
    COHORT = "prepared cohort"
    LATENTS = "latents"
    REPORT = "report of an evaluation"


MARKS = {
    RELEASE_KEY: Kind.RELEASE,
    PLAN_KEY: Kind.RELEASE,
    MODEL_MARK: Kind.MODEL,
    COHORT_MARK: Kind.COHORT,
    LATENTS_MARK: Kind.LATENTS,
    JSON_KEY: Kind.REPORT,
}
# Fields of run.json that tell what was begun, where nothing is finished.
BEGUN = {
    "kind": Kind.TRAINING,
    "grid": Kind.COHORT,
    "autoencoder": Kind.LATENTS,
    "sources": Kind.REPORT,
}


def is_model_name(place: str) -> bool:
    """Whether it names a model that is no folder: the shipped one, or a MONAI bundle."""
    named = place in (SHIPPED, PUBLISHED) and not Path(place).exists()
    return named or place.startswith(f"{PUBLISHED}:")


def kind_at(place: str, store: Store) -> Kind:
    """The kind of what lies at `place`, of which `store` is the storage.

    Raises:
        JobError: nothing that brainpress made.
        ReleaseError: the storage refuses or is away.
    """
    if is_model_name(place):
        return Kind.MODEL
    for mark, kind in MARKS.items():
        if store.look(mark) is not None:
            return kind
    begun = document(store, RUN) or {}
    for field, kind in BEGUN.items():
        if field in begun:
            return kind
    others = [kind for kind in Kind if kind is not Kind.RELEASE]
    raise JobError(
        f"{store.uri}: no release there, and no {', '.join(others[:-1])} or {others[-1]}; check "
        "the address"
    )


def document(store: Store, key: str) -> dict[str, Any] | None:
    """The JSON object at `key`; None where there is none, or a damaged one."""
    try:
        return parse_object(store.get(key, most=MOST_BYTES))
    except (KeyError, ValueError):
        return None
