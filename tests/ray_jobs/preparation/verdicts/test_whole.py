"""What the verdicts of a whole cohort come to, and who is pictured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.errors import JobError
from ray_jobs.preparation.options import Options
from ray_jobs.preparation.verdicts.picture import SHOWN, pictured
from ray_jobs.preparation.verdicts.whole import (
    common_refusal,
    told_lines,
    told_subjects,
    unmixed,
)

PLAIN = Options(placement="register", inspect=True)
STRIPPED = Options(placement="register", inspect=True, skull_strip=True)


def shown(kind: str, **more: Any) -> dict[str, Any]:
    return {"sha256": "0" * 64, "inspection": {"kind": kind}, "redone": True, **more}


def refused(kind: str = "head") -> dict[str, Any]:
    return {"reason": "a whole head", "faults": ["whole head"], "inspection": {"kind": kind}}


def doubtful(kind: str = "brain") -> dict[str, Any]:
    return shown(kind, told="tilted by 12 degrees", faults=["tilted"])


def of(*kinds: Any) -> dict[str, dict[str, Any]]:
    return {f"sub-{number:02d}": kind for number, kind in enumerate(kinds)}


@pytest.mark.parametrize("kind", ["head", "brain"])
def test_a_cohort_of_one_kind_is_not_mixed(kind: str) -> None:
    assert unmixed(of(shown(kind), shown(kind), {"reason": "no"}), PLAIN, 1, None) == {}


def test_who_is_undecided_makes_no_mixture() -> None:
    assert unmixed(of(shown("undecided"), shown("brain")), PLAIN, 0, None) == {}


def test_heads_and_brains_in_one_cohort_are_refused_with_counts_and_names() -> None:
    done = of(shown("head"), shown("brain"), shown("head"))
    with pytest.raises(JobError) as caught:
        unmixed(done, PLAIN, 0, None)
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        "2 whole heads and 1 brain without skull in one cohort (brains without skull: sub-01), "
        "and no model of both is right: --skull-strip makes brains of all, --max-unusable 1 "
        "leaves the brains without skull out"
    )


def test_a_mixture_on_a_grid_for_brains_is_one_too_though_its_heads_are_refused_there() -> None:
    done = of(refused(), shown("brain"), refused(), shown("brain"), refused())
    with pytest.raises(JobError, match=r"3 whole heads and 2 brains .*--max-unusable 3 leaves"):
        unmixed(done, PLAIN, 3, None)
    assert unmixed(done, PLAIN, 3, 3.0) == {}  # they are out already


def test_the_fewer_are_left_out_where_max_unusable_allows_it() -> None:
    done = of(shown("head"), shown("brain"), shown("head"), {"reason": "no image"})
    out = unmixed(done, PLAIN, 1, 2.0)
    assert list(out) == ["sub-01"]
    assert out["sub-01"]["reason"] == "a brain without skull among 2 whole heads: --skull-strip"
    with pytest.raises(JobError, match="--max-unusable 2 leaves"):
        unmixed(done, PLAIN, 1, 1.0)


def test_stripped_heads_are_no_mixture() -> None:
    assert unmixed(of(shown("brain"), refused("head")), STRIPPED, 1, None) == {}


def test_the_doubtful_are_listed_and_summed_up() -> None:
    done = of(shown("brain"), doubtful(), doubtful(), refused("brain"))
    assert told_subjects(done) == [
        {"participant_id": "sub-01", "told": "tilted by 12 degrees"},
        {"participant_id": "sub-02", "told": "tilted by 12 degrees"},
    ]
    assert told_lines(done) == [
        "note: sub-01: tilted by 12 degrees",
        "note: sub-02: tilted by 12 degrees",
        "note: 2 of 4 are used though doubtful: 2 tilted",
    ]
    assert told_lines(of(shown("brain"))) == []


def test_of_many_doubtful_the_terminal_shows_some_and_says_where_the_others_are() -> None:
    lines = told_lines(of(*[doubtful()] * 100))
    assert len(lines) == 21
    assert lines[-1].endswith(
        "100 of 100 are used though doubtful: 100 tilted; cohort.json lists them all"
    )


def test_the_most_common_refusal_is_told_where_nobody_is_left() -> None:
    done = of({"reason": "no image"}, refused(), refused())
    assert common_refusal(done) == ": 2 whole head, as sub-01: a whole head"
    assert common_refusal(of({"reason": "no image"})) == ""


# ------------------------------------------------------------------------------- the picture


def test_the_refused_and_the_doubtful_are_pictured_first() -> None:
    done = of(*[shown("brain")] * 30, doubtful(), refused("brain"), {"reason": "no image"})
    found = pictured(done)
    assert list(found.items())[:2] == [("sub-31", "refused"), ("sub-30", "doubtful")]
    assert len(found) == SHOWN
    assert "sub-32" not in found


OUTCOMES = st.sampled_from([shown("brain"), doubtful(), refused("brain"), {"reason": "no"}])


@given(st.lists(OUTCOMES, max_size=60))
def test_as_many_are_pictured_as_there_is_room_for_and_some_of_every_kind(kinds: list[Any]) -> None:
    done = of(*kinds)
    found = pictured(done)
    placed = {
        name: "refused" if "reason" in one else "doubtful" if "told" in one else ""
        for name, one in done.items()
        if "inspection" in one
    }
    assert len(found) == min(SHOWN, len(placed))
    assert found.items() <= placed.items()
    assert set(found.values()) == set(placed.values())
    assert found == pictured(dict(reversed(done.items())))
