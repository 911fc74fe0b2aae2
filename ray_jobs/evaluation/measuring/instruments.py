"""What is measured of one volume, and the actor that measures blocks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.features import image_vectors, mirror
from ldm.evaluation.learning.tissue import voxels_of
from ldm.evaluation.privacy.pattern import pattern
from ldm.evaluation.spectrum import as_row
from ldm.volumes.grid import Grid
from ldm.volumes.spectrum import spectrum
from ray_jobs.evaluation.heads.stripped import unstripped
from ray_jobs.evaluation.measuring.folds import patterns_of
from ray_jobs.evaluation.measuring.latent_space import LATENTS, LatentMeter
from ray_jobs.evaluation.measuring.tables import write_part
from ray_jobs.evaluation.sources import Source

MEASURES = 5  # goes up when a volume is measured in more ways, or others
# mm3 by the segmenter; `normalised_brain_volume` is brain_volume at the template's head size.
VOLUMES = (
    "ventricular_volume",
    "brain_volume",
    "grey_volume",
    "white_volume",
    "brain_stem_volume",
    "csf_volume",
    "intracranial_volume",
    "normalised_brain_volume",
)
PEOPLE = ("age", "male")
TISSUE_SEED = 0  # of a volume's voxels: as chance has it, and the same each time
REGION = "region_"  # of a column: a region's volume in mm3, before its key
TISSUE = "tissue"  # voxels with their label, float16, as of `ldm.evaluation.learning.tissue`
SPECTRUM = "spectrum"  # the row of a volume's spectrum, float32


class Instruments:
    """Measures a block of volumes a call, and writes its part.

    Args:
        sources: by label.
        grid: of every volume.
        out: the evaluation's folder.
        latents: where the encoded cohort lies in whose space volumes are compared, or None.
    """

    def __init__(
        self, sources: dict[str, Source], grid: Grid, out: str, latents: str | None = None
    ) -> None:
        import torch

        from ldm.measuring.people import load_people
        from ldm.measuring.regions import load_region_tool

        torch.set_num_threads(1)
        self._sources, self._grid, self._out = sources, grid, Path(out)
        self._regions, self._people = load_region_tool(), load_people()

        self._latents = None
        if latents is not None:
            self._latents = LatentMeter(latents)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Write part `number` of `source`: items `start` to `stop`. Gives how many were refused."""
        source = self._sources[block["source"]]
        items = source.items[block["start"] : block["stop"]]
        rows = [self._row(source, item) for item in items]
        patterns = [{"pattern": row.pop("pattern", b"")} for row in rows]
        write_part(self._out, patterns_of(block["source"]), block["number"], patterns)
        write_part(self._out, block["source"], block["number"], rows)  # last: it tells all is there
        return {"rows": len(rows), "refused": sum(bool(row["error"]) for row in rows)}

    def _row(self, source: Source, item: dict[str, Any]) -> dict[str, Any]:
        row = {"name": item["name"], "group": item["group"], **item["asked"], "error": ""}
        row |= dict.fromkeys(f"measured_{name}" for name in (*VOLUMES, *PEOPLE))
        row |= dict.fromkeys(("image", "mirrored", "features", SPECTRUM, TISSUE, *LATENTS))
        try:
            volume = source.read(item)
            for name, pictured in (("image", volume[None]), ("mirrored", mirror(volume[None]))):
                row[name] = image_vectors(pictured)[0].astype(np.float32).tobytes()
            regions = self._regions.segment(volume, self._grid.affine)
            found = regions.segmentation
            row |= {f"measured_{k}": v for k, v in volumes_of(found.volumes()).items()}
            row |= {f"{REGION}{key}": size for key, size in regions.volumes().items()}
            person = self._people.judge(found)
            drawn = voxels_of(found.box.voxels, found.labels, TISSUE_SEED)
            row[TISSUE] = drawn.astype("<f2").tobytes()
            row[SPECTRUM] = as_row(spectrum(volume)).astype("<f4").tobytes()
        except LdmError as error:
            return {**row, "error": str(error)}
        row |= {"measured_age": person.age, "measured_male": person.male}
        row["pattern"] = pattern(volume, self._grid.spacing).tobytes()
        row["features"] = found.features.astype(np.float32).tobytes()
        if self._latents is not None:
            row |= self._latents(unstripped(source, item))
        return row


def volumes_of(found: dict[str, float]) -> dict[str, float]:
    """The volumes of `VOLUMES`. Raises LdmError where the head has no plausible size."""
    from ldm.anatomy.head_size import head_scale, normalised

    scale = head_scale(found["intracranial_volume"])
    return {**found, "normalised_brain_volume": normalised(found["brain_volume"], scale)}
