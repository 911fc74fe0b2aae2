"""Contrasts: their names, and whose image a sample of one is."""

from __future__ import annotations

import pytest

from ldm import contrasts
from ldm.contrasts import SUFFIXES, suffix_of
from ldm.errors import LdmError
from ldm.split import held_out, person_of
from manifests.format import layout


def test_all_contrasts_and_sessions_of_a_person_are_on_one_side() -> None:
    for number in range(20):
        person = f"sub-{number:02d}"
        samples = [f"{person}{ses}_{s}" for ses in ("", "_ses-02") for s in SUFFIXES]
        assert {person_of(sample) for sample in samples} == {person}
        assert len({held_out(sample, 0.5) for sample in (person, *samples)}) == 1
    assert person_of("sub-T2w") == "sub-T2w"
    assert person_of("sub-a_b") == "sub-a_b"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], "no suffix; expected some of T1w"),
        (["FLIAR"], "'FLIAR': expected some of T1w, T2w, PDw, FLAIR, T2starw"),
        (["t2w"], "'t2w': did you mean T2w?"),
        (["T1w", "T1w"], "T1w is given twice"),
    ],
)
def test_what_is_no_list_of_contrasts_gets_one_line(names: list[str], line: str) -> None:
    with pytest.raises(LdmError) as told:
        contrasts.checked(names)
    assert line in str(told.value)
    assert "\n" not in str(told.value)


def test_a_sample_has_the_contrast_it_is_asked_for() -> None:
    assert suffix_of({"modality": "T2w"}, ("T1w", "T2w")) == "T2w"
    assert suffix_of({"age": 60}, ("FLAIR",)) == "FLAIR"
    assert contrasts.to_json(("T1w",)) == {}  # what was written before there were others
    assert contrasts.from_json({}) == ("T1w",)
    assert contrasts.from_json(contrasts.to_json(("T1w", "FLAIR"))) == ("T1w", "FLAIR")


def test_a_release_and_the_science_know_the_same_contrasts() -> None:
    assert tuple(layout.CONTRASTS) == SUFFIXES
    assert (layout.MODALITY, layout.T1W) == (contrasts.MODALITY, contrasts.T1W)
