"""The volumes of a release as a dataset to train on, read straight from where the release lies."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import ReleaseError, StorageError
from manifests.format.measured import beside
from manifests.pictures.planes import three_planes
from manifests.query.extents import spread
from manifests.query.held import held
from manifests.query.release import Release
from manifests.query.where import find_column
from manifests.storage.base import Store
from manifests.volumes.cache import CACHE_BYTES, VolumeCache, default_folder
from manifests.volumes.images import Image, choose, fetch, images_of, labelled
from manifests.volumes.nifti import read_labels, read_volume

PICTURE_HEIGHT = 180  # pixels, in a notebook


class Volumes:
    """A map-style dataset: `torch.utils.data.DataLoader`, MONAI and TorchIO take it as it is.

        volumes = Volumes("s3://bucket/release", where="age > 70", columns=["age", "sex"])
        volume, row = volumes[0]
        some = volumes[:100]  # a dataset of the first hundred

    `volume` is float32 (1, X, Y, Z), `row` a dict of the columns. It imports no PyTorch, so that it
    works with the light install. With `label=True` an item is `volume, label, row`: the label map
    of the very image, uint8 (1, X, Y, Z), whose numbers `regions` names. It can be pickled, and be
    used in processes forked or spawned: each opens its own connections with its own credentials.

    Attributes:
        columns: of each row, in order.
        store: where the release lies.
        regions: names of the regions in the label maps, by number; none without `label`.
    """

    def __init__(
        self,
        release: str | Path,
        *,
        where: str | None = None,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        label: bool = False,
        cache: str | Path | None = "",
        cache_bytes: int = CACHE_BYTES,
        version: str | None = None,
        expect: str | None = None,
        endpoint_url: str | None = None,
        anonymous: bool = False,
    ) -> None:
        """
        Args:
            release: a folder, s3://bucket/prefix, or the address of a public release: https://,
                gs://, az:// or hf://datasets/OWNER/NAME. What is public needs no credentials.
            where: a filter, in the language of `brainpress query`.
            ids: participants, as sub-000001, 000001 or 1.
            limit: the first so many of those that match.
            columns: of the manifest, and volumes of regions where it has label maps; where None,
                participant_id and the covariates in their units.
            label: whether to give the label map beside each image. Images that could not be
                segmented, or are not yet, are left out, unless `ids` names them.
            cache: the folder that keeps what was fetched; where "", $BRAINPRESS_CACHE/volumes or
                the user's cache folder, but none for a release on this disk; where None, none.
            cache_bytes: the most that it holds.
            version: an earlier one that was published, such as "1.0.0"; what lies there where
                None. Samples that were withdrawn since have no image in any version.
            expect: the SHA-256 of release.json, as `brainpress info` shows it.
            endpoint_url: of the server that keeps the bucket, where it is not the usual one.
            anonymous: whether credentials are left alone also where there are some.

        Raises:
            ReleaseError: no release there, a filter or column that is not understood, no such rows;
                no label maps, where they are asked for.
        """
        opened = Release.open(
            release,
            version=version,
            expect=expect,
            endpoint_url=endpoint_url,
            anonymous=anonymous,
        )
        covariates = [column.name for column in opened.document.columns]
        names = ["participant_id", *covariates] if columns is None else columns
        known = opened.known_columns
        self.columns = tuple(dict.fromkeys(find_column(name, known) for name in names))
        maps: dict[str, Image] = {}
        few = where is None and not label
        wanted = not few or not set(self.columns) <= set(opened.schema.names)
        with held(
            opened, ids=ids if few else None, limit=limit if few else None, regions=wanted
        ) as checked:
            rows = choose(checked, where=where, ids=ids, limit=None if label else limit)
            if label:
                rows, maps = labelled(checked, rows, limit, all_of_them=ids is not None)
            if more := [name for name in self.columns if name not in rows.schema.names]:
                figures = checked.query(columns=["index", *more])
                rows = beside(rows, figures, more)
        self.regions = _names(opened) if label else {}
        self._maps = maps
        self._label = label
        self._rows = rows.select(self.columns).combine_chunks()
        self._images = rows.select(["index", "path", "bytes", "sha256"]).combine_chunks()
        self._uri = opened.store.uri
        self._place = opened.place
        self._store, self._process = opened.store, os.getpid()
        if cache == "":
            cache = None if opened.store.is_local else default_folder()
        self._cache = None if cache is None else VolumeCache(Path(cache), cache_bytes)

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __getitem__(self, index: int | slice) -> Any:
        """One volume, float32 (1, X, Y, Z) as scaled by its header, its label map where there are
        some, and its row; of a slice the dataset of those volumes.

        Raises:
            ReleaseError: a file that is missing, broken, or not the manifest's (exit code 1).
        """
        if isinstance(index, slice):
            return self._of(range(len(self))[index])
        volume = self.read(index)[0]
        if not self._label:
            return volume, self.row(index)
        return volume, self.read_label(index), self.row(index)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def _of(self, places: range) -> Volumes:
        """The dataset of some of its volumes."""
        some, taken = copy(self), np.array(places, dtype=np.int64)
        some._rows = self._rows.take(taken).combine_chunks()
        some._images = self._images.take(taken).combine_chunks()
        return some

    def __repr__(self) -> str:
        kind = "volumes with their label maps" if self._label else "volumes"
        lines = [f"{len(self):,} {kind} of {self._uri}"]
        width = max(map(len, self.columns), default=0)
        lines += [f"{name:{width}}  {spread(self._rows[name])}" for name in self.columns]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """In a notebook: the same, above its first volume in three planes."""
        told = f"<pre>{html.escape(repr(self))}</pre>"
        if not len(self):
            return told
        volume, affine = self.read(0)
        png = base64.b64encode(three_planes(volume[0], affine, PICTURE_HEIGHT)).decode()
        return f"{told}<img alt='volume 0 in three planes' src='data:image/png;base64,{png}'>"

    def row(self, index: int) -> dict[str, Any]:
        """The columns of one volume, without fetching it."""
        found: dict[str, Any] = self._rows.slice(self._at(index), 1).to_pylist()[0]
        return found

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One volume, float32 (1, X, Y, Z), and its affine (4, 4): voxels to mm."""
        volume, affine = self._read(self._image(index), read_volume)
        return volume[None], affine

    def read_label(self, index: int) -> np.ndarray:
        """The label map of one volume, uint8 (1, X, Y, Z); of a dataset with `label=True`.

        Raises:
            ReleaseError: a map that is missing, broken, or not the one of the table (exit code 1).
        """
        if not self._label:
            raise ReleaseError("label maps were not asked for: Volumes(..., label=True)")
        labels, _ = self._read(self._maps[self._image(index).path], read_labels)
        return labels[None]

    def _image(self, index: int) -> Image:
        return images_of(self._images.slice(self._at(index), 1), self._uri)[0]

    def _read(
        self, image: Image, read: Callable[[bytes], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        try:
            return read(self._bytes(image))
        except KeyError:
            line = f"{self._uri}/{image.path} is missing; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
        except ReleaseError as error:
            line = f"{self._uri}/{image.path}: {error}"
            kind = StorageError if isinstance(error, StorageError) else ReleaseError
            raise kind(line, error.exit_code) from error

    @property
    def store(self) -> Store:
        """The release's store; a process that was forked must not use its parent's connections."""
        if self._process != os.getpid():
            self._store, self._process = copy(self._place), os.getpid()
        return self._store

    def _bytes(self, image: Image) -> bytes:
        if self._cache is None:
            return fetch(self.store, image)
        data = self._cache.get(image.sha256)
        if data is None:
            data = fetch(self.store, image)
            self._cache.put(image.sha256, data)
        return data

    def _at(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"volume {index} of {len(self)}")
        return int(index) % len(self)


def _names(release: Release) -> dict[int, str]:
    """The regions of a release's label maps: their names by number."""
    told = release.document.segmentation
    return {region.number: region.name for region in told.regions} if told else {}
