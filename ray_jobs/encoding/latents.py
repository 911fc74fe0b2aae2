"""Encoded latents on disk: `latents.json`, `latents.parquet`, `latents/`, `autoencoder/`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ldm import contrasts
from ldm.anatomy.copies import SPLINE, WHOLE
from ldm.anatomy.deformed import CHANGED
from ldm.contrasts import T1W
from ldm.covariates import CovariateSchema, Row
from ldm.training.presets import CHANNEL
from ldm.volumes.brain_size import BrainSize
from ldm.volumes.grid import MNI
from ldm.volumes.quality import Bounds
from ray_jobs.encoding.autoencoder_folder import TrainedAutoencoder, open_run
from ray_jobs.errors import JobError
from ray_jobs.files import digest, read_json, read_table, write_json, write_table
from ray_jobs.work_folder import WorkFolder

MARK, TABLE, ARRAYS = "latents.json", "latents.parquet", "latents"
CUBIC = 3  # splines that copies were interpolated with before there was `ldm.anatomy.copies.SPLINE`


def factor_column(covariate: str) -> str:
    """The column of the table that holds what the copies' values are multiplied by."""
    return f"{covariate}_factors"


def identity(
    cohort: str,
    copies: int,
    autoencoder: str,
    deformed: bool,
    scale: str = CHANNEL,
    spline: int = SPLINE,
) -> dict[str, Any]:
    """What makes latents what they are; `deformed`, `latent_scale` and `spline` only where they are
    not as before there was a choice."""
    told: dict[str, Any] = {"cohort": cohort, "copies": copies, "autoencoder": autoencoder}
    told |= {"deformed": True} if deformed else {}
    told |= {"latent_scale": scale} if scale != CHANNEL else {}
    return told | ({"spline": spline} if copies > WHOLE and spline != CUBIC else {})


@dataclass(frozen=True, kw_only=True)
class EncodedCohort:
    """A cohort's latents and the autoencoder that made them.

    Attributes:
        folder: where they lie, with a copy of the autoencoder.
        schema: the covariates.
        table: a row a subject: participant_id, split, latent (path in the folder) and the
            covariates. A latent is `.npy`, (copies, 2, C, x, y, z) float32: mean and log-variance.
            Deformed: also `<covariate>_factors`, a list of what each copy's is multiplied by.
        latent_mean, latent_std: per channel, over the training subjects.
        scale: whether each channel has a deviation of its own in `latent_std`, as of
            `ldm.training.presets`.
        bounds: what the quality check accepts, from the training subjects' reconstructions.
        brain_size: what tells the size of a brain; None where it could not be fitted.
        bounds_of: the bounds of each contrast, where there are several; suffixes: those.
        copies: how many copies of a volume were encoded; deformed: whether others are bent.
        cohort: the prepared cohort's fingerprint; source: what it was made from.
        command: the encode-latents that made them.
        spline: degree of the splines that moved and bent copies were interpolated with.
        space: in which the volumes lie, as of `ldm.volumes.grid.Grid`.
    """

    folder: WorkFolder
    schema: CovariateSchema
    table: pd.DataFrame
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    bounds: Bounds
    brain_size: BrainSize | None
    copies: int
    cohort: str
    source: dict[str, Any]
    command: str
    deformed: bool = False
    scale: str = CHANNEL
    spline: int = SPLINE
    space: str = MNI
    suffixes: tuple[str, ...] = (T1W,)
    bounds_of: dict[str, Bounds] = field(default_factory=dict)

    @property
    def autoencoder(self) -> TrainedAutoencoder:
        """The autoencoder that encoded and will decode."""
        return open_run(self.folder)

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of all that training sees."""
        own = (self.cohort, self.copies, self.autoencoder.sha256, self.deformed)
        return digest(identity(*own, self.scale, self.spline))

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, in the order of their ids."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def paths(self, name: str) -> list[Path]:
        """The latents of one split, in the same order, as files of this machine."""
        return self.folder.fetch_all(self.split(name)["latent"])

    def rows(self, name: str) -> list[list[Row]]:
        """Covariates of one split's subjects, a row a copy; one row where copies do not differ."""
        table, names = self.split(name), list(self.schema.names)
        own = [dict(zip(names, row, strict=True)) for row in table[names].itertuples(index=False)]
        if not self.deformed:
            return [[row] for row in own]
        factors = {c: table[factor_column(c)] for c in CHANGED if c in names}
        return [
            [
                {**row, **{c: row[c] * float(each[subject][copy]) for c, each in factors.items()}}
                for copy in range(self.copies)
            ]
            for subject, row in enumerate(own)
        ]

    def write(self) -> None:
        """Write the table, then `latents.json`, whose presence says that all is there."""
        write_table(self.folder.path / TABLE, self.table)
        self.folder.put(TABLE)
        write_json(
            self.folder.path / MARK,
            {
                "format": "brainpress-latents",
                "version": 1,
                "cohort": self.cohort,
                "source": self.source,
                "command": self.command,
                "copies": self.copies,
                **({"deformed": True} if self.deformed else {}),
                **({"latent_scale": self.scale} if self.scale != CHANNEL else {}),
                **({"spline": self.spline} if self.spline != CUBIC else {}),
                **({"space": self.space} if self.space != MNI else {}),
                **contrasts.to_json(self.suffixes),
                **({"bounds_of": self.bounds_of} if self.bounds_of else {}),
                "latent_mean": list(self.latent_mean),
                "latent_std": list(self.latent_std),
                "bounds": {name: list(pair) for name, pair in self.bounds.items()},
                **({"brain_size": self.brain_size.to_json()} if self.brain_size else {}),
                **self.schema.to_json(),
                "fingerprint": self.fingerprint,
            },
        )
        self.folder.put(MARK)

    @classmethod
    def open(cls, source: str | Path | WorkFolder) -> EncodedCohort:
        """The encoded cohort in a folder or at an s3:// URI.

        Raises:
            JobError: none there, or not complete.
            ReleaseError: the bucket refuses or is away.
        """
        folder = source if isinstance(source, WorkFolder) else WorkFolder.read(str(source))
        again = "brainpress encode-latents"
        document = read_json(folder.fetch(MARK))
        if document is None or document.get("format") != "brainpress-latents":
            raise JobError(
                f"{folder} holds no complete latents (no {MARK}); run {again} --out to it first"
            )
        folder = folder.of(document["fingerprint"])
        table = read_table(folder.fetch(TABLE), made_by=again)
        there = folder.keys(f"{ARRAYS}/")
        for path in table["latent"]:
            if path not in there:
                raise JobError(f"{folder / path} is missing; run {again} again")
        size = document.get("brain_size")
        return cls(
            folder=folder,
            schema=CovariateSchema.from_json(document),
            table=table,
            latent_mean=tuple(document["latent_mean"]),
            latent_std=tuple(document["latent_std"]),
            bounds={name: (low, high) for name, (low, high) in document["bounds"].items()},
            brain_size=BrainSize.from_json(size) if size else None,
            copies=document["copies"],
            cohort=document["cohort"],
            source=document["source"],
            command=document.get("command", ""),
            deformed=document.get("deformed", False),
            scale=document.get("latent_scale", CHANNEL),
            spline=document.get("spline", CUBIC),
            space=document.get("space", MNI),
            suffixes=contrasts.from_json(document),
            bounds_of={
                suffix: {name: (low, high) for name, (low, high) in own.items()}
                for suffix, own in document.get("bounds_of", {}).items()
            },
        )
