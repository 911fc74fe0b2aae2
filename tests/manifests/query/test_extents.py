"""How a column is spread, in words."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from manifests.query.extents import spread


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([3.25, 1.0, None, 2.0], "1 to 3.25"),
        ([7, 7], "7"),
        (["M", "F", "F", None], "F 2, M 1"),
        ([None, None], "no value"),
        ([], "no value"),
        ([True, False, True], "False 1, True 2"),
        ([f"sub-{i:04d}" for i in range(2000)], "2,000 different, such as sub-0000"),
    ],
)
def test_a_column_is_told_in_words(values: list[Any], told: str) -> None:
    assert spread(pa.chunked_array([pa.array(values)])) == told
