"""Brain volume normalised for the size of the head."""

from __future__ import annotations

from ldm.errors import LdmError

# mm3 of the MNI152 2009a brain mask that nilearn ships, cerebrospinal fluid included.
TEMPLATE_INTRACRANIAL = 1_882_989.0
_PLAUSIBLE = (0.5, 3.0)


def head_scale(intracranial: float) -> float:
    """The template's intracranial volume over a subject's, mm3.

    Raises:
        LdmError: no head is of that size (a volume in mL, say).
    """
    scale = TEMPLATE_INTRACRANIAL / intracranial if intracranial else 0.0
    if not _PLAUSIBLE[0] <= scale <= _PLAUSIBLE[1]:
        raise LdmError(
            f"intracranial_volume is {intracranial:g}: expected mm3, "
            f"{TEMPLATE_INTRACRANIAL / _PLAUSIBLE[1]:.0f} to "
            f"{TEMPLATE_INTRACRANIAL / _PLAUSIBLE[0]:.0f}"
        )
    return scale


def normalised(brain_volume: float, scale: float) -> float:
    """`brain_volume` (mm3) as if the head were of the template's size.

    UK Biobank's field 25009 is the same product. Its scale is that of SIENAX: an affine
    registration to MNI152 driven by the skull's outside (Smith et al. 2002). Here the scale is
    `head_scale`, or the determinant of a registration driven by the brain and a rim of 6 mm
    around it, so that an atrophied brain is made a little too large.
    """
    return brain_volume * scale
