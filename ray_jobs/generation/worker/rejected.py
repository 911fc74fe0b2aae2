"""A run in which nothing passes: it ends with its first shard, and shows what was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ldm.volumes.conversion import LEVELS, NOT_FINITE
from ldm.volumes.previews import mosaic
from ray_jobs.errors import JobError

PICTURED = 16
PREVIEW_KEY = "previews/rejected.png"


class NothingPassedError(JobError):
    """Every sample of a shard failed at every attempt, before any other passed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


def nothing_passed(rows: Sequence[Mapping[str, Any]], place: str) -> NothingPassedError:
    """The error that ends a run, with the reasons and how often each was met.

    Args:
        rows: of the manifest, all failed.
        place: where the pictures lie.
    """
    reasons = Counter(str(row["error"]).split(" ")[0] for row in rows)
    examples = {str(row["error"]).split(" ")[0]: row["error"] for row in reversed(rows)}
    told = "; ".join(f"{count} x {examples[name]}" for name, count in reasons.most_common(4))
    return NothingPassedError(
        f"all of the first {len(rows)} samples failed their quality check at every attempt "
        f"({told}); nothing is kept of them but pictures: {place}. Train the model longer, or "
        "start again in another place with --quality loose, or off to keep whatever is drawn"
    )


def picture(draws: Sequence[tuple[int, np.ndarray]]) -> bytes:
    """PNG of rejected volumes (X, Y, Z) uint16, each by its index; what is not finite is black."""
    volumes = [
        np.where(levels == NOT_FINITE, 0, levels).astype(np.float32) / LEVELS for _, levels in draws
    ]
    return mosaic(volumes, [f"{index:06d}, rejected" for index, _ in draws])
