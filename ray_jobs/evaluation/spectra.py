"""Sharpness and texture of every release against people on whom no model was trained."""

from __future__ import annotations

from typing import Any

from ldm.evaluation import spectrum
from ldm.evaluation.statistics.classifier import FOLDS, told_apart
from ldm.volumes.spectrum import BANDS
from ray_jobs.evaluation.measuring.instruments import SPECTRUM
from ray_jobs.evaluation.measuring.measured import HELD_OUT, TRAIN, Measured
from ray_jobs.evaluation.measuring.tables import arrays
from ray_jobs.evaluation.sources import REAL

BLURRED = 4  # the band that tells most in one number, 0.26 to 0.30: what 8 latents just carry


def spectra(measured: dict[str, Measured], *, seed: int) -> dict[str, Any] | None:
    """Power and kurtosis by band, and whether a classifier tells volumes from people by them.

    The people are those held out; the other real ones are the control, a line of their own.

    Returns:
        `bands`, `people` (how many, and their kurtosis), `sets` by label with `power`, `kurtosis`
        and `difference`, and `told_apart` by release; None where too few were measured.
    """
    held_out, others = (measured[REAL].of(group) for group in (HELD_OUT, TRAIN))
    if min(len(held_out), len(others)) < FOLDS:
        return None
    people, control = (arrays(rows[SPECTRUM], "<f4") for rows in (held_out, others))
    releases = {
        label: arrays(found.whole[SPECTRUM], "<f4")
        for label, found in measured.items()
        if label != REAL
    }
    sets = {**releases, REAL: control}
    themselves = spectrum.sharpness(people, people).to_json()
    return {
        "bands": [list(band) for band in BANDS],
        "people": {"n": len(people), "kurtosis": themselves["kurtosis"]},
        "sets": {label: spectrum.sharpness(x, people).to_json() for label, x in sets.items()},
        "told_apart": {
            label: told_apart(*map(spectrum.tame, (x, people, control)), seed=seed).to_json()
            for label, x in releases.items()
        },
    }
