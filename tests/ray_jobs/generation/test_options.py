"""Options that cannot be, refused before anything is looked up."""

from __future__ import annotations

from typing import Any

import pytest

from ray_jobs.errors import JobError
from ray_jobs.generation.options import Options


def options(**changes: Any) -> Options:
    return Options(**{"n": 16, "out": "release", **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "--n 0: expected at least 1"),
        ({"n": -5}, "--n -5: expected at least 1"),
        ({"steps": 0}, "--steps 0: expected at least 1"),
        ({"batch_size": 0}, "--batch-size 0: expected at least 1"),
        ({"actors": -1}, "--actors -1: expected at least 1"),
        ({"seed": -1}, "--seed -1: expected 0 to 2\\^63 - 1"),
        ({"gpus_per_actor": 1.5}, "--gpus-per-actor 1.5: expected a share"),
        ({"gpus_per_actor": float("nan")}, "--gpus-per-actor nan: expected a share"),
    ],
)
def test_a_bad_option_says_what_was_found_and_what_was_expected(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=message) as caught:
        options(**change)
    assert caught.value.exit_code == 2


def test_a_shard_of_broken_batches_is_refused_with_a_size_that_fits() -> None:
    with pytest.raises(JobError, match="whole batches; expected a multiple, such as 8"):
        options(shard_size=7, batch_size=4)
