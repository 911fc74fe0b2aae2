"""How alike two volumes of one source are: over pairs drawn at random."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ray_jobs.evaluation.measuring.tables import write_part
from ray_jobs.evaluation.sources import Source

SIMILARITIES = ("ms_ssim", "four_g_r_ssim")


class PairMeter:
    """Measures a block of pairs a call, and writes its part.

    Args:
        sources: by the name of their pairs.
        pairs: places of the two volumes, for each.
        out: the evaluation's folder.
    """

    def __init__(
        self, sources: dict[str, Source], pairs: dict[str, list[tuple[int, int]]], out: str
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self._sources, self._pairs, self._out = sources, pairs, Path(out)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Write part `number` of `source`: pairs `start` to `stop`."""
        from ldm.evaluation.similarity import four_g_r_ssim, ms_ssim

        kind = block["source"]
        source, rows = self._sources[kind], []
        for first, second in self._pairs[kind][block["start"] : block["stop"]]:
            try:
                one, other = (source.read(source.items[place]) for place in (first, second))
                values = (ms_ssim(one, other), four_g_r_ssim(one, other))
            except LdmError:  # one is refused: the pair counts for nothing
                values = (math.nan, math.nan)
            about = {"first": first, "second": second}
            rows.append(about | dict(zip(SIMILARITIES, values, strict=True)))
        write_part(self._out, kind, block["number"], rows)
        return {"rows": len(rows), "refused": 0}
