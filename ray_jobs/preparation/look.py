"""What is found out about a scan before it is placed: where it lies, its brain, its volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from ldm.anatomy import registration, skull
from ldm.contrasts import T1W
from ldm.errors import LdmError
from ldm.measuring import ANY_CONTRAST, measure
from ldm.measuring.box import whole_head
from ldm.volumes.background import masked, settled
from ldm.volumes.brightness import levelled
from ldm.volumes.conversion import read_scan
from ray_jobs.preparation.notes import STRIPPED_TO_MEASURE
from ray_jobs.preparation.options import SEGMENTER, Work

Amiss = tuple[str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found.

    Attributes:
        data: (X, Y, Z) float32, its background settled, and levelled what is over-bright.
        amiss: a line of each of the two where that was needed.
        registered: where it lies in MNI space; None with `why_not` where it does not register.
        mask: (X, Y, Z) bool, its brain, where that is asked.
        measured: mm3 by name, where that is asked.
        notes: codes of `ray_jobs.preparation.notes`: how it was measured.
    """

    data: np.ndarray
    amiss: Amiss = (None, None)
    registered: registration.Registration | None = None
    why_not: str = ""
    mask: np.ndarray | None = None
    measured: dict[str, int] | None = None
    notes: tuple[str, ...] = ()


def look(data: np.ndarray, affine: np.ndarray, work: Work) -> Look:
    """What `work` asks to be found out of a scan.

    deepbet and most measuring engines know T1w images alone. An image of another contrast is
    registered by the T1w image of the session where there is one, and gets its brain and its
    volumes.

    Args:
        data: (X, Y, Z) float32.
        affine: (4, 4) voxel to world mm.

    Raises:
        LdmError: it does not register, is not stripped or not measured, and must be.
    """
    data, amiss = _tamed(data)
    if work.suffix == T1W:
        return _look_at_t1w(data, affine, work, amiss)
    guide, why_not = _guide(work)
    found = _placed(data, affine, work, guide, amiss)
    if work.skull_strip:
        found = replace(found, mask=_brain(found, affine, work, guide, why_not))
    if work.measure in ANY_CONTRAST:
        seen = data if found.mask is None else masked(data, found.mask)
        return replace(found, measured=_measured(data, seen, affine, work.measure))
    if work.measure:
        if guide is None:
            raise LdmError(
                f"--measure {work.measure} knows T1w images alone, and {why_not}: give the volumes "
                f"in participants.tsv, or --measure synthseg"
            )
        return replace(found, measured=guide.look.measured, notes=guide.look.notes)
    return found


def _tamed(data: np.ndarray) -> tuple[np.ndarray, Amiss]:
    data, of_background = settled(data)
    data, of_brightness = levelled(data)
    return data, (of_background, of_brightness)


@dataclass(frozen=True)
class _Guide:
    look: Look
    affine: np.ndarray


def _guide(work: Work) -> tuple[_Guide | None, str]:
    """The T1w image to go by; None, and why, where there is none or it cannot be used."""
    if work.guide is None:
        return None, "there is no T1w image of the session"
    path = Path(work.guide)
    try:
        status = path.stat()
        return _known_guide(path, status.st_mtime_ns, work.skull_strip, _engine(work)), ""
    except OSError as error:
        return None, f"{path.name} cannot be read ({error.strerror})"
    except LdmError as error:
        return None, f"{path.name} cannot be used ({error})"


def _engine(work: Work) -> str | None:
    return None if work.measure in ANY_CONTRAST else work.measure


@lru_cache(maxsize=1)  # the other contrasts of a person come one after the other
def _known_guide(path: Path, _mtime: int, strip: bool, engine: str | None) -> _Guide:
    scan = read_scan(path)
    data, amiss = _tamed(scan.data)
    work = Work(placement="register", skull_strip=strip, measure=engine)
    return _Guide(_look_at_t1w(data, scan.affine, work, amiss), scan.affine)


def _placed(
    data: np.ndarray, affine: np.ndarray, work: Work, guide: _Guide | None, amiss: Amiss
) -> Look:
    """Where an image of another contrast lies, by the guide where there is one."""
    known = guide.look.registered if guide else None
    if not (work.registers or work.inspect or (work.skull_strip and known)):
        return Look(data=data, amiss=amiss)
    try:
        if guide is None or known is None:
            found = registration.register(data, affine, work.suffix)
        else:
            other = (known, guide.look.data, guide.affine)
            found = registration.register_beside(data, affine, work.suffix, *other)
    except LdmError as error:
        if work.registers:
            raise
        return Look(data=data, amiss=amiss, why_not=str(error))
    return Look(data=data, amiss=amiss, registered=found)


def _brain(
    found: Look, affine: np.ndarray, work: Work, guide: _Guide | None, why_not: str
) -> np.ndarray:
    """The brain of an image of another contrast: that of the guide, where it lies here.

    Raises:
        LdmError: no guide, or the two are not aligned.
    """
    from scipy import ndimage

    line = "--skull-strip knows T1w images alone, and"
    if guide is None or guide.look.mask is None or guide.look.registered is None:
        raise LdmError(f"{line} {why_not}: strip the {work.suffix} image with another tool")
    if found.registered is None:
        raise LdmError(f"{line} this one does not align with it ({found.why_not})")
    to_guide = np.linalg.inv(guide.look.registered.rigid) @ found.registered.rigid
    into = np.linalg.inv(guide.affine) @ to_guide @ affine
    mask = ndimage.affine_transform(
        guide.look.mask.astype(np.float32), into[:3, :3], into[:3, 3], found.data.shape, order=1
    )
    return np.asarray(mask > 0.5)


def _look_at_t1w(data: np.ndarray, affine: np.ndarray, work: Work, amiss: Amiss) -> Look:
    registered, mask, why_not = _registered(data, affine, work)
    if work.skull_strip and mask is None:
        mask = skull.brain_mask(data, affine)
    seen = data if mask is None else masked(data, mask)
    notes: tuple[str, ...] = ()
    if work.measure == SEGMENTER and mask is None and whole_head(data, affine):
        seen = masked(data, _mask_to_measure(data, affine, registered))
        notes = (STRIPPED_TO_MEASURE,)
    return Look(
        data=data,
        amiss=amiss,
        registered=registered,
        why_not=why_not,
        mask=mask,
        measured=_measured(data, seen, affine, work.measure) if work.measure else None,
        notes=notes,
    )


def _mask_to_measure(
    data: np.ndarray, affine: np.ndarray, registered: registration.Registration | None
) -> np.ndarray:
    """The brain of a whole head that is prepared as a head, for an engine that knows brains alone.

    Raises:
        LdmError: no brain found, or deepbet is not installed.
    """
    try:
        return skull.brain_mask(data, affine, registered.rigid if registered else None)
    except ModuleNotFoundError:
        raise LdmError(
            f"measuring failed: a whole head, and --measure {SEGMENTER} knows brains alone: "
            "install deepbet (pip install '.[strip]' in a checkout of brainpress), by which it is "
            "stripped to be measured, or take --measure atlas"
        ) from None


def _measured(
    whole: np.ndarray, seen: np.ndarray, affine: np.ndarray, engine: str
) -> dict[str, int]:
    """The volumes. SynthSeg was made for heads as they are; others do better without the skull."""
    image = nib.Nifti1Image(whole if engine == "synthseg" else seen, affine)
    return {name: round(value) for name, value in measure(image, engine).items()}


def _registered(
    data: np.ndarray, affine: np.ndarray, work: Work
) -> tuple[registration.Registration | None, np.ndarray | None, str]:
    """Where a T1w scan lies in MNI space, its brain mask, each if that is asked; or why not.

    The mask is sought in the head turned upright; a head that does not register is stripped as it
    lies, and its brain registered instead.

    Raises:
        LdmError: it does not register, and must.
    """
    if not (work.registers or work.inspect):
        return None, None, ""
    mask = None
    try:
        try:
            found = registration.register(data, affine)
        except LdmError:
            if not work.skull_strip:
                raise
            mask = skull.brain_mask(data, affine)
            return registration.register(masked(data, mask), affine), mask, ""
    except LdmError as error:
        if work.registers:
            raise
        return None, mask, str(error)
    if work.skull_strip:
        mask = skull.brain_mask(data, affine, found.rigid)
    return found, mask, ""
