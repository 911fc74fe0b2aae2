"""The draws of a batch: full, again where a sample fails, and each a function of its own key."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from ldm.covariates import PAPER_SCHEMA, Row
from ldm.diffusion.config import Sampling
from ldm.loading import describe
from ldm.volumes.conversion import NOT_FINITE
from ldm.volumes.quality import Quality
from ray_jobs.generation.covariates import CovariateSource
from ray_jobs.generation.recipe import Recipe
from ray_jobs.generation.worker.doubts import DoubtfulError, Draws
from ray_jobs.generation.worker.drawing import Draw, draw_batch
from ray_jobs.generation.worker.tally import Tally

RECIPE = Recipe(
    seed=9,
    sampling=Sampling(steps=2),
    attempts=3,
    batch_size=4,
    source=CovariateSource(
        kind="cohort", schema=PAPER_SCHEMA, distribution=describe("demo").distribution, fixed={}
    ),
)


class Numbers:
    """Stands in for a model: a volume holds nothing but its own noise key."""

    def __init__(self, *no_numbers: tuple[int, int]) -> None:
        self.calls: list[list[tuple[int, ...]]] = []
        self.no_numbers = no_numbers  # of these (index, attempt)

    def generate(
        self,
        covariates: list[Row],
        noise_keys: list[tuple[int, ...]],
        *,
        steps: int,
        sampler: str,
        eta: float,
        guidance: float,
    ) -> np.ndarray:
        self.calls.append(list(noise_keys))
        volumes = [np.full((2, 2, 2), 1000 * k[2] + k[1]) for k in noise_keys]
        for volume, key in zip(volumes, noise_keys, strict=True):
            if key[1:] in self.no_numbers:
                volume[0] = NOT_FINITE
        return np.array(volumes, np.uint16)


def draw(
    model: Numbers, bad: dict[int, int], wanted: Sequence[int], settled: Draws = frozenset()
) -> list[Draw]:
    """Draw the batch 4..7; sample `index` fails the check on its first `bad[index]` attempts."""

    def check(levels: np.ndarray, asked: Row) -> Quality:
        attempt, index = divmod(int(levels[0, 0, 0]), 1000)
        if levels[0, 0, 0] == NOT_FINITE:
            return Quality(figures={}, error="not finite")
        failed = attempt < bad.get(index, 0)
        return Quality(figures={}, error="empty" if failed else None)

    return list(
        draw_batch(
            model,  # type: ignore[arg-type]
            check,
            RECIPE,
            range(4, 8),
            wanted=dict.fromkeys(wanted, range(RECIPE.attempts)),
            settled=settled,
            alone=threading.Lock(),
            tally=Tally(),
        )
    )


def test_a_batch_without_failures_runs_once() -> None:
    model = Numbers()
    draws = draw(model, {}, wanted=range(4, 8))
    assert model.calls == [[(9, 4, 0), (9, 5, 0), (9, 6, 0), (9, 7, 0)]]
    asked = {index: RECIPE.source.draw(9, index) for index in range(4, 8)}
    assert len({row["age"] for row in asked.values()}) == 4
    assert [(d.index, d.attempt, d.covariates) for d in draws] == [
        (4, 0, asked[4]),
        (5, 0, asked[5]),
        (6, 0, asked[6]),
        (7, 0, asked[7]),
    ]


def test_a_failed_sample_is_drawn_again_in_a_full_batch_and_only_it_is_taken() -> None:
    model = Numbers()
    draws = draw(model, {5: 1}, wanted=range(4, 8))
    assert [len(call) for call in model.calls] == [4, 4]
    assert {key[2] for key in model.calls[1]} == {1}
    found = {d.index: (d.attempt, int(d.levels[0, 0, 0])) for d in draws if d.levels is not None}
    assert found == {4: (0, 4), 5: (1, 1005), 6: (0, 6), 7: (0, 7)}


def test_a_sample_that_fails_every_attempt_comes_back_without_a_volume() -> None:
    draws = {d.index: d for d in draw(Numbers(), {6: 9}, wanted=range(4, 8))}
    assert draws[6].levels is None
    assert (draws[6].attempt, draws[6].quality.error) == (2, "empty")
    assert all(draws[index].levels is not None for index in (4, 5, 7))


def test_what_lies_past_the_end_is_made_dropped_and_never_drawn_again() -> None:
    model = Numbers()
    draws = draw(model, {7: 9}, wanted=[4, 5])
    assert [d.index for d in draws] == [4, 5]
    assert [len(call) for call in model.calls] == [4]


def test_what_is_not_finite_is_no_failed_attempt_and_all_doubts_of_the_batch_are_told_at_once() -> (
    None
):
    model = Numbers((5, 0), (5, 1), (6, 0), (7, 1))
    with pytest.raises(DoubtfulError, match=r"^2 volumes not finite \(samples 5-6\)$") as error:
        draw(model, {}, wanted=range(4, 8))
    assert error.value.draws == {(5, 0), (5, 1), (6, 0)}
    assert not error.value.whole
    assert [keys[0][2] for keys in model.calls] == [0, 1, 2]


def test_what_two_devices_found_not_finite_is_a_failed_attempt() -> None:
    settled = frozenset({(5, 0), (5, 1), (6, 0), (6, 1), (6, 2)})
    draws = draw(Numbers(*settled), {}, wanted=range(4, 8), settled=settled)
    assert {d.index: (d.attempt, d.levels is None) for d in draws} == {
        4: (0, False),
        7: (0, False),
        5: (2, False),
        6: (2, True),
    }


def test_a_batch_without_any_number_says_so() -> None:
    model = Numbers(*((index, attempt) for index in range(4, 8) for attempt in range(3)))
    with pytest.raises(DoubtfulError) as error:
        draw(model, {}, wanted=range(4, 8))
    assert error.value.whole
    assert len(error.value.draws) == 12
