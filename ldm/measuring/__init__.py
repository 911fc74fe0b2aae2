"""Measuring structures of the brain on a T1w image: one interface, several engines."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import nibabel as nib

from ldm.errors import LdmError

MEASURED = ("ventricular_volume", "brain_volume")
ANY_CONTRAST = ("synthseg",)  # engines; the others know T1w images alone


def measure(image: nib.Nifti1Image, engine: str) -> dict[str, float]:
    """Volumes in mm3 by name, not normalised for head size.

    Every engine tells `ventricular_volume`, the lateral ventricles, and `brain_volume`, grey and
    white matter with the brain stem. The segmenter and SynthSeg also tell `grey_volume`,
    `white_volume`, `brain_stem_volume`, `csf_volume` and `intracranial_volume`; see
    `ldm.anatomy.labels.volumes`.

    Args:
        image: 3-D T1w, for `ANY_CONTRAST` of any contrast, its affine in world mm; whole head or
            brain only, for the segmenter brain only.
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


def _segmenter(image: nib.Nifti1Image) -> dict[str, float]:
    from ldm.measuring.segmenter import measure_by_segmenter

    return measure_by_segmenter(image)


ENGINES: dict[str, Callable[[nib.Nifti1Image], dict[str, float]]] = {
    "synthseg": _synthseg,
    "atlas": _atlas,
    "segmenter": _segmenter,
}
