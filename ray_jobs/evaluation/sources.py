"""Where the volumes to evaluate come from: a prepared cohort, or a release; picklable both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ldm.contrasts import MODALITY, T1W
from ldm.covariates import CovariateSchema
from ldm.evaluation.privacy.nearness import FEWEST_HELD_OUT
from ldm.split import person_of
from ldm.volumes.grid import MNI, Grid
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from ray_jobs.errors import JobError
from ray_jobs.preparation.bucket import volume_at
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
    """A prepared cohort; `group` is the split of the subject.

    Of a held-out person with several sessions the first stands for all: what is calibrated on
    them takes them for independent. Of those trained on every session is there, for each may have
    been copied.
    """

    where: str
    items: list[dict[str, Any]]
    identity: str
    label: str = REAL

    @classmethod
    def of(cls, cohort: PreparedCohort) -> RealVolumes:
        """The T1w images of a cohort.

        Raises:
            JobError: it has none.
        """
        check_has_t1w(cohort.where, cohort.suffixes)
        names = [
            "participant_id",
            "volume",
            "sha256",
            "split",
            *t1w_schema(cohort.schema, cohort).names,
        ]
        table = cohort.table
        if len(cohort.suffixes) > 1:
            table = table[table[MODALITY] == T1W]
        persons = table["participant_id"].map(person_of)
        once = ~persons.duplicated() | (table["split"] != "validation")
        rows = table.loc[once, names].to_dict(orient="records")
        items = [
            {
                "name": row.pop("participant_id"),
                "path": row.pop("volume"),
                "sha256": row.pop("sha256"),
                "group": row.pop("split"),
                "asked": row,
            }
            for row in rows
        ]
        return cls(where=cohort.where, items=items, identity=cohort.fingerprint)

    def read(self, item: dict[str, Any]) -> np.ndarray:
        from ldm.volumes.conversion import read_volume

        return read_volume(volume_at(self.where, item["path"], item["sha256"]))


@dataclass(kw_only=True)
class ReleaseVolumes:
    """The images of a release.

    Attributes:
        samples, images: how many it has, measured or not.
        fields: what made it: model, sampling, seed.
        space: in which its volumes lie, as of `ldm.volumes.grid.Grid`.
        unmeasured: how many images it has of other contrasts than T1w, by contrast.
    """

    label: str
    uri: str
    items: list[dict[str, Any]]
    identity: str
    samples: int
    images: int
    fields: dict[str, Any]
    space: str = MNI
    unmeasured: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, label: str, uri: str, schema: CovariateSchema, limit: int | None) -> ReleaseVolumes:
        """The first `limit` T1w images.

        Raises:
            ReleaseError: no finished release there, or no image in it.
            JobError: it has no T1w images.
        """
        from manifests.volumes.images import choose

        release = Release.open(uri)
        suffixes = release.document.suffixes
        check_has_t1w(uri, suffixes)
        several = len(suffixes) > 1
        rows = choose(release, where=f"{MODALITY} = '{T1W}'" if several else None, limit=limit)
        unmeasured = {}
        if several:
            kinds = release.query(f"status = 'ok' and {MODALITY} != '{T1W}'", columns=[MODALITY])
            unmeasured = dict(sorted(Counter(kinds[MODALITY].to_pylist()).items()))
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
            fields=release.about["fields"],
            space=release.document.space or MNI,
            unmeasured=unmeasured,
        )

    def read(self, item: dict[str, Any]) -> np.ndarray:
        return np.asarray(self.image(item).dataobj, dtype=np.float32)

    def image(self, item: dict[str, Any]) -> Any:
        """The nibabel image of an item, its bytes checked."""
        from ldm.volumes.nifti import from_bytes
        from manifests.volumes.images import Image, fetch

        return from_bytes(fetch(self._store, Image(item["path"], item["bytes"], item["sha256"])))

    @cached_property
    def _store(self) -> Store:
        return open_store(self.uri)


def t1w_schema(schema: CovariateSchema, cohort: PreparedCohort) -> CovariateSchema:
    """The covariates of a cohort's T1w images: of several contrasts, without which it is."""
    if len(cohort.suffixes) < 2:
        return schema
    return CovariateSchema(tuple(c for c in schema.covariates if c.name != MODALITY))


def check_has_t1w(where: str, suffixes: tuple[str, ...]) -> None:
    """Refuse what has no T1w image: segmenter and people tool were trained on those alone.

    Raises:
        JobError: what was found.
    """
    if T1W not in suffixes:
        raise JobError(
            f"{where} holds {', '.join(suffixes)} images: evaluate measures by tools that know T1w "
            "images alone, and would be wrong of others; it can be generated from and published "
            "unevaluated"
        )


def not_audited(source: ReleaseVolumes) -> str | None:
    """What a reader must know of a release whose other contrasts were not looked at."""
    if not source.unmeasured:
        return None
    told = ", ".join(f"{count} {suffix}" for suffix, count in source.unmeasured.items())
    return (
        f"{told} images are neither measured nor audited: the tools know T1w images alone, and "
        "whether those show a real person is not known"
    )


def check_held_out(cohort: PreparedCohort) -> None:
    """Refuse a cohort that holds out too few subjects to calibrate the privacy audit.

    Raises:
        JobError: what was found, and what to do.
    """
    held_out = cohort.people("validation")
    if held_out < FEWEST_HELD_OUT:
        people = held_out + cohort.people("train")
        raise JobError(
            f"{cohort.where}: {held_out} of {people} subjects are held out; the "
            f"privacy audit needs at least {FEWEST_HELD_OUT}: prepare more subjects, or with a "
            "larger --validation"
        )


def check_grid(source: ReleaseVolumes, grid: Grid) -> None:
    """Refuse a release on another grid than the cohort's.

    Raises:
        JobError: what was found, and what to do.
    """
    image = source.image(source.items[0])
    if source.space != grid.space:
        raise JobError(
            f"{source.uri}: its volumes lie in space {source.space}, the real cohort's in space "
            f"{grid.space}; prepare the cohort with the --placement of the release's model"
        )
    if image.shape == grid.shape and np.allclose(image.affine, grid.affine, atol=0.01):
        return
    raise JobError(
        f"{source.uri}: its volumes have {_place(image.shape, image.affine)}, the real cohort's "
        f"{_place(grid.shape, grid.affine)}; prepare the cohort with the preset of the release's "
        "model"
    )


def _place(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """`64 x 80 x 64 voxels of 2.5 x 2.5 x 2.5 mm from (-78.8, -115.8, -73.8)`."""
    sides = " x ".join(f"{side:g}" for side in np.round(np.linalg.norm(affine[:3, :3], axis=0), 2))
    corner = ", ".join(f"{x:.1f}" for x in affine[:3, 3])
    return f"{' x '.join(map(str, shape))} voxels of {sides} mm from ({corner})"
