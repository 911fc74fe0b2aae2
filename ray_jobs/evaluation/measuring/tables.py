"""The parts of an evaluation on disk: what is measured is kept, and never measured again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ray_jobs.files import read_table, write_table

MEASURED, PAIRS = "measured", "pairs"
BLOCK = 32  # volumes a part


def part_path(out: Path, kind: str, number: int) -> Path:
    """Where part `number` of a source's measures, or of its pairs, lies."""
    return out / "parts" / f"{kind}-{number:05d}.parquet"


def arrays(column: pd.Series, dtype: str) -> np.ndarray:
    """A column of arrays that were stored as bytes, (rows, length) float32."""
    return np.stack([np.frombuffer(data, dtype) for data in column]).astype(np.float32)


def write_part(out: Path, kind: str, number: int, rows: list[dict[str, Any]]) -> None:
    """Write a part whole."""
    path = part_path(out, kind, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, pd.DataFrame(rows))


def blocks(out: Path, kind: str, count: int, size: int = BLOCK) -> Iterator[dict[str, Any]]:
    """The blocks of `count` items whose parts are not there yet."""
    for number, start in enumerate(range(0, count, size)):
        if not part_path(out, kind, number).exists():
            yield {
                "source": kind,
                "number": number,
                "start": start,
                "stop": min(start + size, count),
            }


def read_part(out: Path, kind: str, number: int) -> pd.DataFrame:
    """The rows of one part. Raises JobError where it is missing or damaged."""
    return read_table(part_path(out, kind, number), made_by="brainpress evaluate")


def read_parts(
    out: Path,
    kind: str,
    count: int,
    size: int = BLOCK,
    numbers: Iterable[int] | None = None,
) -> pd.DataFrame:
    """All rows of the parts of `count` items, or of those `numbers`, in order.

    Raises:
        JobError: a part is missing or damaged.
    """
    numbers = range((count + size - 1) // size) if numbers is None else numbers
    return pd.concat([read_part(out, kind, number) for number in numbers], ignore_index=True)
