"""Where the volumes to evaluate come from: a prepared cohort, or a release; picklable both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ldm.covariates import CovariateSchema
from ldm.grid import Grid
from manifests.query import Release
from manifests.storage import open_store
from manifests.store import Store
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import PreparedCohort

REAL = "real"


class Source(Protocol):
    """Volumes on one grid, each with covariates.

    Attributes:
        label: what tables call it.
        items: one a volume: `name` and `path`, `group`, and what was asked, by covariate.
        identity: what its volumes are a function of.
    """

    label: str
    items: list[dict[str, Any]]
    identity: str

    def read(self, item: dict[str, Any]) -> np.ndarray:
        """The volume of an item, (X, Y, Z) float32 in [0, 1]."""


@dataclass(kw_only=True)
class RealVolumes:
    """A prepared cohort; `group` is the split of the subject."""

    folder: str
    items: list[dict[str, Any]]
    identity: str
    label: str = REAL

    @classmethod
    def of(cls, cohort: PreparedCohort) -> RealVolumes:
        names = ["participant_id", "volume", "split", *cohort.schema.names]
        rows = cohort.table[names].to_dict(orient="records")
        items = [
            {
                "name": row.pop("participant_id"),
                "path": row.pop("volume"),
                "group": row.pop("split"),
                "asked": row,
            }
            for row in rows
        ]
        return cls(folder=str(cohort.folder), items=items, identity=cohort.fingerprint)

    def read(self, item: dict[str, Any]) -> np.ndarray:
        from ldm.training.autoencoder_task import read_volume

        return read_volume(Path(self.folder) / item["path"])


@dataclass(kw_only=True)
class ReleaseVolumes:
    """The images of a release.

    Attributes:
        samples, images: how many it has, measured or not.
    """

    label: str
    uri: str
    items: list[dict[str, Any]]
    identity: str
    samples: int
    images: int

    @classmethod
    def of(cls, label: str, uri: str, schema: CovariateSchema, limit: int | None) -> ReleaseVolumes:
        """The first `limit` images.

        Raises:
            ReleaseError: no finished release there, or no image in it.
        """
        from manifests.images import choose

        release = Release.open(uri)
        rows = choose(release, limit=limit)
        names = [name for name in schema.names if name in rows.column_names]
        columns = ["participant_id", "path", "bytes", "sha256", *names]
        items = [
            {
                "name": row.pop("participant_id"),
                "path": row.pop("path"),
                "bytes": row.pop("bytes"),
                "sha256": row.pop("sha256"),
                "group": "",
                "asked": row,
            }
            for row in rows.select(columns).to_pylist()
        ]
        counts = release.about["counts"]
        return cls(
            label=label,
            uri=uri,
            items=items,
            identity=release.about["fingerprint"],
            samples=counts["samples"],
            images=counts["ok"],
        )

    def read(self, item: dict[str, Any]) -> np.ndarray:
        from ldm.nifti import from_bytes
        from manifests.images import Image, fetch

        image = Image(item["path"], item["bytes"], item["sha256"])
        found: Any = from_bytes(fetch(self._store, image))
        return np.asarray(found.dataobj, dtype=np.float32)

    @cached_property
    def _store(self) -> Store:
        return open_store(self.uri)


def check_grid(source: ReleaseVolumes, grid: Grid) -> None:
    """Refuse a release on another grid than the cohort's.

    Raises:
        JobError: what was found, and what to do.
    """
    shape = source.read(source.items[0]).shape
    if shape != grid.shape:
        raise JobError(
            f"{source.uri}: its volumes have {shape} voxels, the real cohort's {grid.shape}; "
            "prepare the cohort with the preset of the release's model"
        )
