"""Who is held out: a function of the person, whatever sample it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ldm.split import held_out, person_of

LABEL = st.text("abcABC0123456789", min_size=1)


@given(LABEL, st.lists(LABEL, max_size=4), st.floats(0, 1))
def test_all_sessions_of_a_person_are_on_the_side_of_the_person(
    label: str, sessions: list[str], share: float
) -> None:
    person = f"sub-{label}"
    samples = [f"{person}_ses-{session}" for session in sessions]
    assert {person_of(sample) for sample in (person, *samples)} == {person}
    assert len({held_out(sample, share) for sample in (person, *samples)}) == 1


def test_the_split_is_known_for_good() -> None:
    names = [f"sub-{number:04d}" for number in range(30)]
    kept = ["sub-0007", "sub-0010", "sub-0023", "sub-0024"]
    assert [name for name in names if held_out(name, 0.1)] == kept
    assert [name for name in names if held_out(f"{name}_ses-01", 0.1)] == kept
