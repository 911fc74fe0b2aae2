"""A prepared cohort, on disk or in a bucket: `cohort.json`, `subjects.parquet`, `volumes/`."""

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
from ray_jobs.preparation.bucket import BucketFolder, bucket_folder

MARK, TABLE, VOLUMES = "cohort.json", "subjects.parquet", "volumes"
# Columns that tell of a sample and that training does not see; 0.1.0 wrote none of them.
PROVENANCE = ("session", "image", "notes")
# Columns that tell what a look at a scan found, and that training does not see.
INSPECTED = ("shows", "turned", "shifted", "cut")


def is_whole(size: int, grid: Grid) -> bool:
    """Whether so many bytes are all of a prepared volume: 2 a voxel, and a header."""
    return size > 2 * math.prod(grid.shape)


def bytes_of(volume: Path) -> int:
    """Of a file; 0 where there is none."""
    try:
        return volume.stat().st_size
    except OSError:
        return 0


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """A prepared cohort.

    Attributes:
        folder: where it lies; of one in a bucket without meaning.
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
        bucket: where it lies, of one in a bucket.
    """

    folder: Path
    grid: Grid
    schema: CovariateSchema
    table: pd.DataFrame
    source: dict[str, Any]
    suffixes: tuple[str, ...] = (T1W,)
    bucket: BucketFolder | None = None

    @property
    def where(self) -> str:
        """Where it lies, as `open` takes it on any machine: a full path, or an s3:// URI."""
        return str(self.folder) if self.bucket is None else self.bucket.uri

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
        """The volumes of one split, in the same order, as files of this machine."""
        return self.files(self.split(name))

    def files(self, rows: pd.DataFrame) -> list[Path]:
        """The volumes of rows of the table, as files of this machine.

        Raises:
            JobError, ReleaseError: of one in a bucket, what cannot be fetched from there.
        """
        if self.bucket is None:
            return [self.folder / path for path in rows["volume"]]
        return self.bucket.volumes(zip(rows["volume"], rows["sha256"], strict=True))

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
    def open(cls, place: str | Path) -> PreparedCohort:
        """The prepared cohort in a folder or at an s3:// URI.

        Raises:
            JobError: none there, or not complete.
            ReleaseError: the bucket refuses or is away.
        """
        again = "brainpress prepare"
        bucket = bucket_folder(str(place)) if "://" in str(place) else None
        folder = Path() if bucket else Path(place).expanduser().absolute()
        where = bucket.uri if bucket else folder
        document = bucket.json(MARK) if bucket else read_json(folder / MARK)
        if document is None or document.get("format") != "brainpress-cohort":
            raise JobError(
                f"{where} holds no complete prepared cohort (no {MARK}); "
                f"run {again} --out to it first"
            )
        if bucket:
            table = bucket.table(TABLE, made_by=again)
            sizes = bucket.sizes(f"{VOLUMES}/")
        else:
            table = read_table(folder / TABLE, made_by=again)
            sizes = {path: bytes_of(folder / path) for path in table["volume"]}
        grid = Grid.from_json(document["grid"])
        for path in table["volume"]:
            if not is_whole(sizes.get(path, 0), grid):
                raise JobError(f"{where}/{path} is missing or cut short; run {again} again")
        return cls(
            folder=folder,
            grid=grid,
            schema=CovariateSchema.from_json(document),
            table=table,
            source=document["source"],
            suffixes=contrasts.from_json(document),
            bucket=bucket,
        )
