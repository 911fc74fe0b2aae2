"""Whether the volumes to evaluate are whole heads, and what becomes of them then."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import numpy as np

from ldm.errors import LdmError
from ldm.measuring.box import whole_head
from ray_jobs.errors import JobError
from ray_jobs.evaluation.sources import REAL, Source

LOOKED_AT = 12  # volumes of each source, evenly spread
NOT_LOOKED_AT = (
    "its volumes are whole heads and only their brains were looked at, after skull-stripping: "
    "whether a face, scalp or skull is that of a training subject is not known"
)


def are_heads(sources: Mapping[str, Source], affine: np.ndarray) -> bool:
    """Whether every source's volumes are whole heads; False where every one's are brains.

    Args:
        affine: (4, 4) of every volume, voxel to world mm.

    Raises:
        JobError: heads of one source and brains of another, or heads and no skull stripper here.
    """
    heads = {label: _mostly_heads(source, affine) for label, source in sources.items()}
    if not any(heads.values()):
        return False
    if not all(heads.values()):
        named = {kind: [x for x, head in heads.items() if head is kind] for kind in (True, False)}
        raise JobError(
            f"{_listed(named[True])} shows whole heads, skull included, and "
            f"{_listed(named[False])} brains without skull: no figure would compare their anatomy; "
            "expected heads of all or brains of all (prepare the cohort with or without "
            "--skull-strip, as that of the release's model was)"
        )
    if importlib.util.find_spec("deepbet") is None:
        raise JobError(
            "the volumes are whole heads, and evaluate measures brains: expected deepbet, which "
            "strips them first: pip install '.[strip]' in a checkout of brainpress"
        )
    return True


def _mostly_heads(source: Source, affine: np.ndarray) -> bool:
    places = np.unique(np.linspace(0, len(source.items) - 1, LOOKED_AT).astype(int))
    found = []
    for place in places:
        try:
            found.append(bool(whole_head(source.read(source.items[place]), affine)))
        except LdmError:  # nothing to be seen in it: it is refused when it is measured
            continue
    return 2 * sum(found) > len(found)


def _listed(labels: list[str]) -> str:
    return ", ".join("the real cohort" if label == REAL else label for label in labels)
