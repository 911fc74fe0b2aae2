"""What is said of a subject, and with which options it is mended."""

from __future__ import annotations

from typing import Any

import pytest

from ldm.anatomy.inspection.scan import Inspection
from ldm.training.presets import preset
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.verdicts.verdict import of_numbers, unrecognised, verdict

DEMO, PAPER = preset("demo").grid, preset("paper").grid


def inspection(**changes: Any) -> Inspection:
    fine: dict[str, Any] = {
        "kind": "brain",
        "face": False,
        "turned": 0.0,
        "shifted": 0.0,
        "cut": 0.0,
        "unseen": 0.0,
        "head_cut": 0.0,
    }
    return Inspection(**{**fine, **changes})


@pytest.mark.parametrize("placement", ["centre", "affine", "register"])
def test_an_upright_brain_is_fine(placement: str) -> None:
    found = verdict(inspection(turned=2.0, shifted=3.0), Work(placement=placement), DEMO)
    assert (found.faults, found.refused) == ((), False)


def test_a_head_is_refused_on_a_grid_for_brains_and_fine_on_one_for_heads() -> None:
    work = Work(placement="register")
    found = verdict(inspection(kind="head"), work, DEMO)
    assert found.refused
    assert found.line == (
        "a whole head, skull included, on a grid for brains (160 x 200 x 160 mm): --skull-strip, "
        "or --preset paper for a model of heads"
    )
    assert not verdict(inspection(kind="head"), work, PAPER).faults


def test_who_is_undecided_for_noise_is_used_and_told() -> None:
    found = verdict(inspection(kind="undecided"), Work(placement="register"), DEMO)
    assert not found.refused
    assert found.line == (
        "too noisy to tell a head from a brain; previews/prepared.png shows it: "
        "--skull-strip if it is a head"
    )


def test_remarks_on_numbers_stand_beside_what_is_shown() -> None:
    remarks = of_numbers("background 7 is not the darkest", None)
    assert remarks.line == "background 7 is not the darkest"
    assert not remarks.refused
    found = remarks + verdict(inspection(kind="head"), Work(placement="register"), DEMO)
    assert found.names == ["whole head", "background not the darkest"]
    assert not of_numbers(None, None).faults


@pytest.mark.parametrize(("taken", "told"), [(0.0, False), (0.019, False), (0.046, True)])
def test_a_mask_that_cuts_into_the_brain_is_told(taken: float, told: bool) -> None:
    found = verdict(inspection(taken=taken), Work(placement="register"), DEMO)
    assert not found.refused
    assert found.names == (["cut into by its mask"] if told else [])
    assert found.line.startswith("4.6% of the brain was taken away by its mask") == told


def test_a_face_that_stays_is_told() -> None:
    found = verdict(inspection(kind="head", face=True), Work(placement="register"), PAPER)
    assert not found.refused
    assert found.line == (
        "a whole head with its face, which a model may draw again: deface it first, "
        "or --skull-strip"
    )


def test_a_head_that_is_still_one_after_stripping_is_refused() -> None:
    work = Work(placement="register", skull_strip=True)
    for grid in (DEMO, PAPER):
        found = verdict(inspection(kind="head"), work, grid)
        assert found.refused
        assert found.line.startswith("skull or scalp is left after --skull-strip")


@pytest.mark.parametrize(("degrees", "told"), [(0, False), (10, False), (10.1, True), (30, True)])
def test_a_tilt_is_told_where_images_are_centred(degrees: float, told: bool) -> None:
    found = verdict(inspection(turned=degrees), Work(placement="centre"), DEMO)
    assert (found.refused, bool(found.faults)) == (False, told)
    if told:
        assert found.line == f"tilted by {degrees:.0f} degrees: --placement register"


@pytest.mark.parametrize(
    ("degrees", "mm", "believed"), [(3.6, 2.5, True), (9.5, 7.4, False), (2, 18, False)]
)
def test_an_affine_is_believed_where_the_image_lies_in_mni_space(
    degrees: float, mm: float, believed: bool
) -> None:
    found = verdict(inspection(turned=degrees, shifted=mm), Work(placement="affine"), DEMO)
    assert found.refused is not believed
    if not believed:
        assert found.line == (
            f"lies {degrees:.0f} degrees and {mm:.0f} mm away from MNI space, which --placement "
            "affine trusts: --placement register"
        )


@pytest.mark.parametrize(
    ("share", "refused", "told"), [(0.001, False, False), (0.01, False, True), (0.09, True, True)]
)
def test_a_brain_that_is_cut_off_is_told_and_refused_where_much_is_gone(
    share: float, refused: bool, told: bool
) -> None:
    centre = verdict(inspection(cut=share), Work(placement="centre"), DEMO)
    registered = verdict(inspection(cut=share), Work(placement="register"), DEMO)
    unseen = verdict(inspection(unseen=share), Work(placement="register"), DEMO)
    for found in (centre, registered, unseen):
        assert (found.refused, bool(found.faults)) == (refused, told)
    if told:
        text = f"{share:.1%} of the brain lies outside the grid (160 x 200 x 160 mm)"
        assert centre.line == f"{text}: --placement register"
        assert registered.line == text
        assert unseen.line == f"{share:.1%} of the brain lies outside the scan"


def test_several_faults_are_one_line_that_names_each_option_once() -> None:
    found = verdict(inspection(kind="head", turned=23.0, cut=0.31), Work(placement="centre"), DEMO)
    assert found.line.startswith("a whole head, skull included")
    assert "; tilted by 23 degrees: --placement register, --skull-strip, or" in found.line
    assert found.line.count("--placement register") == 1
    assert "\n" not in found.line


def test_a_head_of_which_much_is_cut_off_is_told() -> None:
    found = verdict(inspection(kind="head", head_cut=0.05), Work(placement="centre"), PAPER)
    assert found.line == (
        "5.0% of the head above the eyes lies outside the grid: --placement register"
    )
    assert not found.refused


def test_what_does_not_register_is_told_where_it_is_centred_and_refused_where_it_is_trusted() -> (
    None
):
    centred = unrecognised("registration failed: 0.31", Work(placement="centre"))
    trusted = unrecognised("registration failed: 0.31", Work(placement="affine"))
    assert (centred.refused, trusted.refused) == (False, True)
    assert "unknown (registration failed: 0.31)" in centred.line
    assert trusted.line.startswith("not seen to lie in MNI space, which --placement affine trusts")
