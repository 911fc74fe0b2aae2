"""A whole head is told from a brain alone, however it is cut, dimmed or stored."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from ldm.anatomy.pyramid import template
from ldm.anatomy.virtual.subject import make_subject
from ldm.errors import LdmError
from ldm.measuring import measure
from ldm.measuring.box import whole_head
from ldm.measuring.fitting.subjects import UNSEEN, virtual_subjects
from ldm.training.presets import demo
from tests.ldm import heads, scalps

Image = tuple[np.ndarray, np.ndarray]


def brain() -> Image:
    return scalps.brain()


def inside() -> np.ndarray:
    """(X, Y, Z) bool: the brain's voxels; blurred edges reach further."""
    margin = (brain()[0].shape[0] - template().brain.shape[0]) // 2
    return np.pad(template().brain, margin)


def made_up(*, defaced: bool = False, neck: float = 70.0) -> Image:
    image = heads.whole_head(defaced=defaced, neck=neck)
    return np.asarray(image.dataobj), image.affine


def turned(image: Image, axes: str, degrees: float = 25, side: float = 2.0) -> Image:
    found, _ = heads.turned(
        nib.Nifti1Image(*image), seed=1, degrees=degrees, shift=9, sides=(side,) * 3, axes=axes
    )
    return np.asarray(found.dataobj), found.affine


def cropped(image: Image, below: int) -> Image:
    data, affine = image
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2] * below
    return data[:, :, below:], moved


def cut_to_the_brain(image: Image) -> Image:
    data, affine = image
    low, high = (end(np.argwhere(inside()), axis=0) for end in (np.min, np.max))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    return data[tuple(map(slice, low, high + 1))], moved


def partly(keep: Callable[[np.ndarray], np.ndarray]) -> Image:
    """A head of which all outside the brain is black, but where `keep` (of MNI mm) is."""
    data, affine = scalps.head()
    x, y, z = (
        affine[axis, 3] + scalps.SPACING * i for axis, i in enumerate(np.indices(data.shape))
    )
    return np.where(inside() | keep(np.stack([x, y, z])), data, 0), affine


HEADS: dict[str, Callable[[], Image]] = {
    "with its face": scalps.head,
    "defaced": lambda: scalps.head(face=False),
    "with its neck": made_up,
    "defaced, without neck": lambda: made_up(defaced=True, neck=0.0),
    "above the brows": lambda: cropped(scalps.head(), 60),
    "cut where the brain ends": lambda: cut_to_the_brain(scalps.head()),
    "in a larger field": lambda: (np.pad(scalps.head()[0], 15), scalps.head()[1]),
    "other units": lambda: (scalps.head()[0] * 0.003 - 40, scalps.head()[1]),
    "dim scalp": lambda: (np.sqrt(scalps.head()[0]), scalps.head()[1]),
    "bright scalp": lambda: (scalps.head()[0] ** 2, scalps.head()[1]),
    "turned, PIR": lambda: turned(scalps.head(), "PIR"),
    "turned, 3 mm": lambda: turned(made_up(), "LPS", side=3.0),
    "half stripped: front": lambda: partly(lambda p: p[1] > -10),
    "half stripped: left": lambda: partly(lambda p: p[0] < 0),
    "half stripped: top": lambda: partly(lambda p: p[2] > 30),
}
BRAINS: dict[str, Callable[[], Image]] = {
    "the template's": brain,
    "dimmed": lambda: (brain()[0] ** 2, brain()[1]),
    "other units": lambda: (brain()[0] * 0.003 - 40, brain()[1]),
    "brighter in front": lambda: (
        brain()[0] * np.linspace(0.4, 1.6, brain()[0].shape[1])[:, None],
        brain()[1],
    ),
    "brighter below": lambda: (
        brain()[0] * np.linspace(1.6, 0.4, brain()[0].shape[2]),
        brain()[1],
    ),
    "blurred": lambda: (ndimage.gaussian_filter(brain()[0], 1.0), brain()[1]),
    "turned, PIR": lambda: turned(brain(), "PIR"),
    "turned, 3 mm": lambda: turned(brain(), "LPS", side=3.0),
    "without its lowest 2 cm": lambda: cropped(brain(), 30),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_whole_head_or_a_half_stripped_one_is_told(name: str) -> None:
    assert whole_head(*HEADS[name]())


@pytest.mark.parametrize("name", BRAINS)
def test_a_brain_alone_is_one(name: str) -> None:
    assert whole_head(*BRAINS[name]()) == ""


def test_virtual_brains_that_no_tool_was_trained_on_are_brains() -> None:
    for subject in virtual_subjects(UNSEEN, 3):
        assert whole_head(subject.box.voxels, subject.box.affine) == ""


def test_the_segmenter_refuses_what_it_took_for_a_large_brain() -> None:
    """Half stripped, a head holds fewer litres than the largest brain may."""
    data, affine = partly(lambda p: p[2] > 55)
    bright = (data > 0.05 * np.percentile(data[data > 0], 99.5)).sum() * 8e-6
    assert bright < 2.5
    with pytest.raises(LdmError, match=r"a whole head, expected a brain alone .*--skull-strip"):
        measure(nib.Nifti1Image(data, affine), "segmenter")


@pytest.mark.parametrize("number", [7, 32])
def test_virtual_people_with_the_widest_fluid_are_brains(number: int) -> None:
    """The two of the default virtual cohort whose fluid looks most like a skull."""
    grid = demo().grid
    subject = make_subject((0, number), grid)
    assert whole_head(np.asarray(subject.image.dataobj, dtype=np.float32), grid.affine) == ""
