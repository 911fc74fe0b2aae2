"""Measuring ventricular and brain volume on a T1w image where the cohort's table lacks them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import nibabel as nib

from ldm.errors import LdmError

MEASURED = ("ventricular_volume", "brain_volume")


def measure(image: nib.Nifti1Image, engine: str) -> dict[str, float]:
    """Ventricular and brain volume (grey + white matter, not normalised) in mm3, by name.

    Args:
        image: 3-D T1w, whole head or brain only, its affine in world mm.
        engine: one of `ENGINES`.

    Raises:
        LdmError: an unknown engine, or the engine fails on this image.
    """
    if engine not in ENGINES:
        raise LdmError(f"measuring engine {engine!r}: expected one of {', '.join(ENGINES)}")
    found = ENGINES[engine](image)
    for name in MEASURED:
        if not found[name] > 0:
            raise LdmError(f"measuring failed: {name} {found[name]:g} mm3 by {engine}")
    return found


def choose_engine(wanted: str) -> str:
    """The engine that `wanted` means here: "auto" is SynthSeg where it is installed.

    Raises:
        LdmError: SynthSeg is asked for and not on PATH.
    """
    there = shutil.which("mri_synthseg") is not None
    if wanted == "synthseg" and not there:
        raise LdmError("mri_synthseg is not on PATH: install FreeSurfer 7.3 or newer, or use atlas")
    if wanted == "auto":
        return "synthseg" if there else "atlas"
    return wanted


def _synthseg(image: nib.Nifti1Image) -> dict[str, float]:
    from ldm.measuring.synthseg import measure_by_synthseg

    return measure_by_synthseg(image)


def _atlas(image: nib.Nifti1Image) -> dict[str, float]:
    from ldm.measuring.atlas import measure_by_atlas

    return measure_by_atlas(image)


ENGINES: dict[str, Callable[[nib.Nifti1Image], dict[str, float]]] = {
    "synthseg": _synthseg,
    "atlas": _atlas,
}
