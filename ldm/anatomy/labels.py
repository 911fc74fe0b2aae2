"""The structures that the segmenter tells apart, and what others call them."""

from __future__ import annotations

import numpy as np

BACKGROUND, CSF, GREY, WHITE, VENTRICLE, STEM = range(6)
NAMES = (
    "background",
    "cerebrospinal fluid",
    "grey matter",
    "white matter",
    "lateral ventricles",
    "brain stem",
)
COUNT = len(NAMES)

# MUSE (Doshi et al. 2016): fluid around the brain and in the third and fourth ventricle; the
# lateral ventricles with their inferior horns; white matter with the ventral diencephalon.
_MUSE = {
    CSF: (1, 4, 11, 46),
    VENTRICLE: (49, 50, 51, 52),
    STEM: (35,),
    WHITE: (40, 41, 61, 62, 69, *range(81, 96)),
}

# Of a MUSE map, for synthetic contrasts: parts whose brightness may differ within a structure.
_PARTS = (
    (1, 46),
    (4, 11),
    (49, 50, 51, 52),
    (35,),
    (61, 62, 69),
    (40, 41),
    tuple(range(81, 95)),
    (95,),
    (38, 39, 71, 72, 73),
    (36, 37, 23, 30),
    (57, 58),
    (55, 56),
    (59, 60),
    (31, 32, 47, 48, 75, 76),
)


def from_muse(labels: np.ndarray) -> np.ndarray:
    """A MUSE label map as one of ours, uint8; what is no fluid, white matter or stem is grey."""
    table = np.full(256, GREY, dtype=np.uint8)
    table[0] = BACKGROUND
    for ours, theirs in _MUSE.items():
        table[list(theirs)] = ours
    return np.asarray(table[labels])


def parts_of_muse(labels: np.ndarray) -> np.ndarray:
    """The parts of a MUSE label map, uint8: 0 background, 1 the cortex, 2 and on `_PARTS`."""
    table = np.ones(256, dtype=np.uint8)
    table[0] = 0
    for number, theirs in enumerate(_PARTS, start=2):
        table[list(theirs)] = number
    return np.asarray(table[labels])


def volumes(counts: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """Volumes in mm3 by name, from the voxels (or summed probabilities) of each structure, (6,).

    `ventricular_volume` is the lateral ventricles with their inferior horns, `brain_volume` grey
    and white matter with the brain stem (as SynthSeg's and the atlas's is), and
    `intracranial_volume` all that is not background.
    """
    mm3 = np.asarray(counts, dtype=np.float64) * voxel_volume
    return {
        "ventricular_volume": float(mm3[VENTRICLE]),
        "brain_volume": float(mm3[GREY] + mm3[WHITE] + mm3[STEM]),
        "grey_volume": float(mm3[GREY]),
        "white_volume": float(mm3[WHITE]),
        "brain_stem_volume": float(mm3[STEM]),
        "csf_volume": float(mm3[CSF]),
        "intracranial_volume": float(mm3[1:].sum()),
    }


def dice(found: np.ndarray, known: np.ndarray, structure: int) -> float:
    """Overlap of a structure in two label maps (Dice 1945); NaN where neither has it."""
    a, b = found == structure, known == structure
    both = float(a.sum() + b.sum())
    return 2 * float((a & b).sum()) / both if both else float("nan")
