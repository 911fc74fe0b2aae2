"""What a network is told: the inverse of its answer, and nothing else of the model changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA
from ldm.covariates.calibration import Calibration, Plane, calibrate
from ldm.errors import LdmError
from ldm.loading import load
from ldm.models.latent_diffusion import Model, save
from tests.ldm.tiny_model import networks, working_folder

ROW = {"sex": "M", "age": 60, "ventricular_volume": 40_000, "brain_volume": 1_400_000}
NAMES = PAPER_SCHEMA.names
TWICE = Calibration({"age": Plane(constant=-0.5, weights={"age": 2.0})})

weights = st.floats(-0.3, 0.3)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Plane]:
    """Of two covariates, each mostly its own."""
    return {
        name: Plane(
            constant=draw(weights),
            weights={of: draw(weights) + (0.9 if of == name else 0.0) for of in NAMES},
        )
        for name in ("age", "brain_volume")
    }


def rows() -> st.SearchStrategy[dict[str, Any]]:
    scaled = st.floats(-0.5, 1.5)
    return st.tuples(st.sampled_from("FM"), scaled, scaled, scaled).map(
        lambda drawn: {
            "sex": drawn[0],
            **{
                c.name: c.unscale(x)
                for c, x in zip(PAPER_SCHEMA.continuous, drawn[1:], strict=True)
            },
        }
    )


def asked(values: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, map(float, values), strict=True))


def test_without_a_calibration_the_network_is_told_what_is_asked() -> None:
    found = Calibration().conditions(PAPER_SCHEMA, ROW)
    assert found.dtype == np.float32
    assert found.tolist() == PAPER_SCHEMA.scale(ROW).tolist()


@given(answers(), answers(), rows())
def test_a_calibrated_model_answers_as_is_wanted(
    answer: dict[str, Plane], wanted: dict[str, Plane], row: dict[str, Any]
) -> None:
    calibration = calibrate(PAPER_SCHEMA, answer, wanted)
    told = asked(calibration.conditions(PAPER_SCHEMA, row))
    scaled = asked(PAPER_SCHEMA.scale(row))
    for name in answer:
        assert answer[name](told) == pytest.approx(wanted[name](scaled), abs=1e-4)
    for name in NAMES:
        assert name in answer or told[name] == scaled[name]


@given(answers(), answers(), rows())
def test_one_calibration_after_another_is_both_in_turn(
    answer: dict[str, Plane], wanted: dict[str, Plane], row: dict[str, Any]
) -> None:
    second = calibrate(PAPER_SCHEMA, answer, wanted)
    try:
        both = second.after(TWICE, PAPER_SCHEMA)
    except LdmError:  # together they may count a covariate more often than is accepted
        reject()
    within = TWICE.conditions(PAPER_SCHEMA, row)
    want = second.conditions(PAPER_SCHEMA, PAPER_SCHEMA.unscale(within))
    assert both.conditions(PAPER_SCHEMA, row) == pytest.approx(want, abs=1e-3)


@given(answers(), answers(), st.floats(0, 1), rows())
def test_a_share_lies_between_what_is_asked_and_the_whole(
    answer: dict[str, Plane], wanted: dict[str, Plane], share: float, row: dict[str, Any]
) -> None:
    part, whole = (
        calibrate(PAPER_SCHEMA, answer, wanted, share=one).conditions(PAPER_SCHEMA, row)
        for one in (share, 1.0)
    )
    asked = PAPER_SCHEMA.scale(row)
    assert part == pytest.approx(asked + share * (whole - asked), abs=1e-4)


def test_a_share_of_what_would_be_told_too_often_is_accepted() -> None:
    answer = {"age": Plane(constant=0, weights={"age": 0.1})}
    wanted = {"age": Plane(constant=0, weights={"age": 1.0})}
    part = calibrate(PAPER_SCHEMA, answer, wanted, share=0.25)
    assert part.planes["age"].weights["age"] == pytest.approx(1 + 0.25 * 9)


def test_a_calibration_comes_back_from_its_document() -> None:
    document = json.loads(json.dumps(TWICE.to_json()))
    assert Calibration.from_json(document, PAPER_SCHEMA) == TWICE


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"age": Plane(constant=0, weights={"age": 0.1})}, "age counts 10 times, at most 4"),
        (
            {n: Plane(constant=0, weights={"age": 1.0}) for n in ("age", "brain_volume")},
            "age and brain_volume hardly, or both alike",
        ),
    ],
)
def test_an_answer_too_weak_to_be_set_right_is_refused(
    answer: dict[str, Plane], words: str
) -> None:
    wanted = {name: Plane(constant=0, weights={name: 1.0}) for name in answer}
    with pytest.raises(LdmError, match=words):
        calibrate(PAPER_SCHEMA, answer, wanted)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"sex": {"constant": 0, "weights": {}}}, "sex, which has levels"),
        ({"size": {"constant": 0, "weights": {}}}, "unknown covariate 'size'"),
        ({"age": {"constant": 0, "weights": {"size": 1}}}, "unknown covariate 'size'"),
        ({"age": {"constant": "nan", "weights": {}}}, "the constant counts nan times"),
    ],
)
def test_a_document_of_no_calibration_is_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(LdmError, match=words):
        Calibration.from_json(document, PAPER_SCHEMA)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_folder(tmp_path_factory)


@pytest.fixture(scope="module")
def calibrated(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated") / "tiny"
    save(folder, replace(load(plain).description, calibration=TWICE), *networks())
    return folder


def test_a_calibrated_model_draws_what_the_plain_one_draws_of_what_is_told(
    plain: Path, calibrated: Path
) -> None:
    one, other = load(plain), load(calibrated)
    age = PAPER_SCHEMA["age"]
    told = {**ROW, "age": age.unscale(2 * age.scale(ROW["age"]) - 0.5)}
    drawn = other.generate([ROW], [(1,)], steps=3)
    assert np.abs(drawn.astype(int) - one.generate([told], [(1,)], steps=3)).max() <= 1
    assert (drawn != one.generate([ROW], [(1,)], steps=3)).any()


def test_a_calibration_is_a_part_of_what_a_model_is(plain: Path, calibrated: Path) -> None:
    model = load(calibrated)
    assert isinstance(model, Model)
    assert model.description.calibration == TWICE
    assert model.fingerprint != load(plain).fingerprint
    card = (calibrated / "README.md").read_text()
    assert "| told | sex | age | ventricular_volume | brain_volume | constant |" in card
    assert "| age | 0 | 2 | 0 | 0 | -0.5 |" in card
    assert "| told |" not in (plain / "README.md").read_text()
