"""A prepared cohort on disk: `cohort.json`, `subjects.parquet`, `volumes/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ldm.covariates import CovariateSchema
from ldm.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.files import digest, read_json, write_bytes, write_json

MARK, TABLE, VOLUMES = "cohort.json", "subjects.parquet", "volumes"


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """A prepared cohort.

    Attributes:
        folder: where it lies.
        grid: of every volume.
        schema: the covariates, with their ranges.
        table: a row a usable subject: participant_id, split ("train" or "validation"),
            volume (path in the folder), sha256 and the covariates.
        source: what it was made from, in words.
    """

    folder: Path
    grid: Grid
    schema: CovariateSchema
    table: pd.DataFrame
    source: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of all that training sees."""
        return digest(
            {
                "grid": self.grid.to_json(),
                "covariates": self.schema.to_json(),
                "subjects": self.table.to_dict(orient="records"),
            }
        )

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, in the order of their ids."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def volumes(self, name: str) -> list[Path]:
        """The volumes of one split, in the same order."""
        return [self.folder / path for path in self.split(name)["volume"]]

    def write(self, unusable: list[dict[str, str]]) -> None:
        """Write the table, then `cohort.json`, whose presence says that all is there."""
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(self.table, preserve_index=False), sink)
        write_bytes(self.folder / TABLE, sink.getvalue().to_pybytes())
        counts = self.table["split"].value_counts()
        write_json(
            self.folder / MARK,
            {
                "format": "brainpress-cohort",
                "version": 1,
                "source": self.source,
                "grid": self.grid.to_json(),
                **self.schema.to_json(),
                "train": int(counts.get("train", 0)),
                "validation": int(counts.get("validation", 0)),
                "unusable": unusable,
                "fingerprint": self.fingerprint,
            },
        )

    @classmethod
    def open(cls, folder: Path) -> PreparedCohort:
        """The prepared cohort in `folder`.

        Raises:
            JobError: none there, or not complete.
        """
        document = read_json(folder / MARK)
        if document is None or document.get("format") != "brainpress-cohort":
            raise JobError(
                f"{folder} holds no complete prepared cohort (no {MARK}); "
                "run brainpress prepare --out to it first"
            )
        return cls(
            folder=folder,
            grid=Grid.from_json(document["grid"]),
            schema=CovariateSchema.from_json(document),
            table=pq.read_table(folder / TABLE).to_pandas(),
            source=document["source"],
        )
