"""Contrasts other than T1w: virtual ones, and registering them by what they are."""

from __future__ import annotations

import numpy as np
import pytest

from ldm.anatomy.fit import fit
from ldm.anatomy.pyramid import template_as, working_image
from ldm.anatomy.registration import (
    LEAST_CONTRAST,
    LEAST_EXPLAINED,
    Registration,
    register,
    register_beside,
)
from ldm.anatomy.virtual.subject import CSF, GREY, VENTRICLE, WHITE, make_subject
from ldm.contrasts import SUFFIXES, T1W
from ldm.errors import LdmError
from ldm.training.presets import preset
from tests.ldm.heads import brain, difference, turned

OTHERS = SUFFIXES[1:]


def scan(suffix: str) -> np.ndarray:
    """The template's brain at 2 mm in a contrast, (X, Y, Z) float32, in place."""
    import SimpleITK as sitk

    return np.ascontiguousarray(sitk.GetArrayFromImage(template_as(suffix)[2]).T)


def contrast(data: np.ndarray, suffix: str, matrix: np.ndarray | None = None) -> float:
    place = np.eye(4) if matrix is None else matrix
    return fit(place, working_image(data, brain().affine), suffix).contrast


def least(suffix: str) -> float:
    return LEAST_CONTRAST if suffix == T1W else LEAST_EXPLAINED[suffix]


def test_a_virtual_subject_has_the_tissues_of_each_contrast_and_the_same_t1w() -> None:
    grid = preset("demo").grid
    subject, alone = make_subject(5, grid, SUFFIXES), make_subject(5, grid)
    assert np.array_equal(subject.image.dataobj, alone.image.dataobj)
    labels = np.asarray(subject.labels.dataobj)
    assert np.array_equal(labels, alone.labels.dataobj)
    mean = {
        suffix: [
            float(np.asarray(image.dataobj)[np.isin(labels, tissue)].mean())
            for tissue in ((CSF, VENTRICLE), (GREY,), (WHITE,))
        ]
        for suffix, image in subject.images.items()
    }
    orders = {suffix: np.argsort(levels).tolist() for suffix, levels in mean.items()}
    fluid, grey, white = 0, 1, 2
    assert orders[T1W] == [fluid, grey, white]
    assert orders["T2w"] == [white, grey, fluid]
    assert orders["FLAIR"] == [fluid, white, grey]
    assert mean["T2w"][fluid] > 1.3 * mean["T2w"][grey]
    assert mean["FLAIR"][fluid] < 0.6 * mean["FLAIR"][grey]
    for image in subject.images.values():
        assert not np.asarray(image.dataobj)[labels == 0].any()


@pytest.mark.parametrize("suffix", OTHERS)
def test_the_fit_of_a_contrast_sees_where_tissues_lie_and_in_which_order(suffix: str) -> None:
    data = scan(suffix)
    assert contrast(data, suffix) > least(suffix) + 0.1
    if suffix != "FLAIR":  # dark fluid in grey tissue passes for T1w
        assert contrast(data, T1W) < LEAST_CONTRAST
    assert contrast(scan(T1W), suffix) < 0
    for axes in (np.s_[::-1, ::-1], np.s_[:, ::-1, ::-1], np.s_[:, :, ::-1]):
        assert contrast(np.ascontiguousarray(data[axes]), suffix) < least(suffix)
    away = np.eye(4)
    away[2, 3] = 10
    assert contrast(data, suffix, away) < least(suffix)


def test_t2w_and_flair_are_not_taken_for_each_other() -> None:
    assert contrast(scan("T2w"), "FLAIR") < 0
    assert contrast(scan("FLAIR"), "T2w") < 0


def test_a_turned_t2w_scan_comes_back_to_the_template_alone() -> None:
    image = brain()
    place = type(image)(scan("T2w"), image.affine)
    moved_image, moved = turned(
        place, seed=4, degrees=25, shift=20, sides=(2.0, 2.0, 3.0), axes="LAS"
    )
    data = np.asarray(moved_image.dataobj, dtype=np.float32)
    found = register(data, moved_image.affine, "T2w")
    degrees, millimetres = difference(found.rigid @ moved, np.eye(4))
    assert (degrees < 1, millimetres < 1.5) == (True, True), (degrees, millimetres)


@pytest.mark.parametrize(("degrees", "shift"), [(4, 5), (40, 50)])
def test_another_contrast_is_brought_along_by_the_t1w_of_the_person(
    degrees: float, shift: float
) -> None:
    """Also where the headers of the two say nothing of each other."""
    known = Registration(rigid=np.eye(4), affine=np.eye(4), correlation=1.0, contrast=1.0)
    image = brain()
    flair = type(image)(scan("FLAIR"), image.affine)
    seen, moved = turned(
        flair, seed=2, degrees=degrees, shift=shift, sides=(1.5, 1.5, 4.0), axes="PIR"
    )
    data, t1w = np.asarray(seen.dataobj, dtype=np.float32), np.asarray(image.dataobj)
    found = register_beside(data, seen.affine, "FLAIR", known, t1w, image.affine)
    off = difference(found.rigid @ moved, np.eye(4))
    assert (off[0] < 0.6, off[1] < 1) == (True, True), off
    assert np.linalg.det(found.affine[:3, :3]) == pytest.approx(1, abs=1e-6)
    assert found.contrast > LEAST_EXPLAINED["FLAIR"]


def test_a_t1w_scan_under_another_name_is_refused() -> None:
    with pytest.raises(LdmError, match="is it a T2w image, its header right"):
        register(np.asarray(brain().dataobj), brain().affine, "T2w")
