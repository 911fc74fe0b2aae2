"""A prepared cohort on disk: `cohort.json`, `subjects.parquet`, `volumes/`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ldm import contrasts
from ldm.contrasts import T1W
from ldm.covariates import CovariateSchema
from ldm.split import person_of
from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.files import digest, read_json, read_table, write_json, write_table

MARK, TABLE, VOLUMES = "cohort.json", "subjects.parquet", "volumes"
# Columns that tell of a sample and that training does not see; 0.1.0 wrote none of them.
PROVENANCE = ("session", "image", "notes")
# Columns that tell what a look at a scan found, and that training does not see.
INSPECTED = ("shows", "turned", "shifted", "cut")


def is_whole(volume: Path, grid: Grid) -> bool:
    """Whether all of a prepared volume is there: 2 bytes a voxel, and a header."""
    try:
        return volume.stat().st_size > 2 * math.prod(grid.shape)
    except OSError:
        return False


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """A prepared cohort.

    Attributes:
        folder: where it lies.
        grid: of every volume.
        schema: the covariates, with their ranges.
        table: a row a sample: participant_id (`sub-01`, or `sub-01_ses-02` where each session
            is a sample; `ldm.split.person_of` names the person), split ("train" or
            "validation", by person), volume (path in the folder), sha256, the covariates, and
            where it comes from: session, image (path in the BIDS folder) and notes, codes of
            `ray_jobs.preparation.notes`. Where images were inspected also shows ("head",
            "brain" or "undecided"), turned (degrees) and shifted (mm) between the image as placed
            and the template, and cut (share of the brain outside the grid).
        source: what it was made from, in words.
        suffixes: the contrasts of its images; of several, the covariate `modality` tells which.
    """

    folder: Path
    grid: Grid
    schema: CovariateSchema
    table: pd.DataFrame
    source: dict[str, Any]
    suffixes: tuple[str, ...] = (T1W,)

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of all that training sees."""
        seen = self.table.drop(columns=[*PROVENANCE, *INSPECTED], errors="ignore")
        return digest(
            {
                "grid": self.grid.to_json(),
                "covariates": self.schema.to_json(),
                "subjects": seen.to_dict(orient="records"),
                **contrasts.to_json(self.suffixes),
            }
        )

    def people(self, split: str) -> int:
        """How many persons are in one split; each may have several samples."""
        return len({person_of(name) for name in self.split(split)["participant_id"]})

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, in the order of their ids."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def volumes(self, name: str) -> list[Path]:
        """The volumes of one split, in the same order."""
        return [self.folder / path for path in self.split(name)["volume"]]

    def write(
        self,
        unusable: list[dict[str, str]],
        told: Sequence[dict[str, str]] = (),
    ) -> bool:
        """Write the table, then `cohort.json`, whose presence says that all is there.

        Args:
            unusable: participant_id and reason of who is left out.
            told: participant_id and what is doubtful of who is used all the same.

        Returns:
            Whether anything had to be written; False where the very same cohort was there.
        """
        document = {
            "format": "brainpress-cohort",
            "version": 1,
            "source": self.source,
            "grid": self.grid.to_json(),
            **self.schema.to_json(),
            **contrasts.to_json(self.suffixes),
            "train": len(self.split("train")),
            "validation": len(self.split("validation")),
            "unusable": unusable,
            **({"told": list(told)} if told else {}),
            "fingerprint": self.fingerprint,
        }
        if read_json(self.folder / MARK) == document and self._reads_back():
            return False
        (self.folder / MARK).unlink(missing_ok=True)
        write_table(self.folder / TABLE, self.table)
        write_json(self.folder / MARK, document)
        return True

    def _reads_back(self) -> bool:
        try:
            return PreparedCohort.open(self.folder).fingerprint == self.fingerprint
        except JobError:
            return False

    @classmethod
    def open(cls, folder: Path) -> PreparedCohort:
        """The prepared cohort in `folder`.

        Raises:
            JobError: none there, or not complete.
        """
        again = "brainpress prepare"
        document = read_json(folder / MARK)
        if document is None or document.get("format") != "brainpress-cohort":
            raise JobError(
                f"{folder} holds no complete prepared cohort (no {MARK}); "
                f"run {again} --out to it first"
            )
        table = read_table(folder / TABLE, made_by=again)
        grid = Grid.from_json(document["grid"])
        for path in table["volume"]:
            if not is_whole(folder / path, grid):
                raise JobError(f"{folder / path} is missing or cut short; run {again} again")
        return cls(
            folder=folder,
            grid=grid,
            schema=CovariateSchema.from_json(document),
            table=table,
            source=document["source"],
            suffixes=contrasts.from_json(document),
        )
