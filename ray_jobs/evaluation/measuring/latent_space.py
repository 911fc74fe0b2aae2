"""A volume in the space of a model's latents, beside every copy that its training was shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ldm import noise
from ldm.evaluation.features import mirror
from ldm.evaluation.privacy.audit import Space
from ldm.networks import channels_last
from ldm.networks.precision import PRECISIONS, autocast, resolve
from ldm.split import person_of
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.evaluation.measuring.measured import HELD_OUT, TRAIN
from ray_jobs.evaluation.measuring.tables import arrays, read_parts, write_part
from ray_jobs.preparation.cohort import PreparedCohort

LATENTS = ("latent", "latent_mirrored")  # columns: of a volume and of its mirror image, float32
COPIES = "_copies"  # the kind of parts of what training was shown; no label of a release is so
# Numbers of a projected latent: distances keep their ratios within some 5 % (Johnson &
# Lindenstrauss 1984), and a hundred thousand of them fit into memory.
PROJECTED = 1024
_KEY = 7


class Projection:
    """Latents of an encoded cohort as vectors to compare: standardised by channel, and projected.

    Args:
        latents: the folder that encode-latents left, or an s3:// URI.
    """

    def __init__(self, latents: str) -> None:
        self.encoded = EncodedCohort.open(latents)
        self._mean, self._std = (
            np.asarray(values, dtype=np.float32)[:, None, None, None]
            for values in (self.encoded.latent_mean, self.encoded.latent_std)
        )
        self._matrix: np.ndarray | None = None

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Latents (N, C, x, y, z) as (N, 1024) float32."""
        rows = ((latents - self._mean) / self._std).reshape(len(latents), -1)
        if self._matrix is None:
            rng = noise.generator(noise.EVALUATION, _KEY, rows.shape[1])
            matrix = rng.standard_normal((rows.shape[1], PROJECTED), dtype=np.float32)
            self._matrix = matrix / np.float32(PROJECTED**0.5)
        return np.asarray(rows @ self._matrix, dtype=np.float32)


class LatentMeter:
    """Encodes volumes with the autoencoder of an encoded cohort, and projects them."""

    def __init__(self, latents: str) -> None:
        self._project = Projection(latents)
        self._network = self._project.encoded.autoencoder.network()
        channels_last(self._network)
        self._dtype = PRECISIONS[resolve("auto", "cpu")]

    @torch.inference_mode()
    def __call__(self, volume: np.ndarray) -> dict[str, bytes]:
        """Of a volume (X, Y, Z) and of its mirror image, float32 as bytes."""
        both = np.stack([volume, mirror(volume[None])[0]]).astype(np.float32)
        with autocast("cpu", self._dtype):
            mean, _ = self._network.encode(torch.from_numpy(both)[:, None])
        one, other = self._project(mean.float().numpy())
        return dict(zip(LATENTS, (one.tobytes(), other.tobytes()), strict=True))


class CopyReader:
    """Reads a block of training subjects' encoded copies a call, and writes its part.

    Args:
        latents: as of `Projection`.
        out: the evaluation's folder.
    """

    def __init__(self, latents: str, out: str) -> None:
        torch.set_num_threads(1)
        self._project, self._out = Projection(latents), Path(out)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Write part `number`: subjects `start` to `stop`, a row each."""
        encoded = self._project.encoded
        table = encoded.split(TRAIN).iloc[block["start"] : block["stop"]]
        rows = []
        for name, key in zip(table["participant_id"], table["latent"], strict=True):
            copies = np.load(encoded.folder.fetch(key))[:, 0]  # the means
            rows.append({"name": name, COPIES: self._project(copies).tobytes()})
        write_part(self._out, COPIES, block["number"], rows)
        return {"rows": len(rows)}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a model's training was shown: every copy of its training subjects.

    Attributes:
        vectors: (T, 1024) float32, projected.
        names: (T,) whose each copy is.
    """

    vectors: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def read(cls, out: Path, subjects: int) -> Shown:
        """Of the parts that `CopyReader` wrote."""
        parts = read_parts(out, COPIES, subjects)
        copies = [np.frombuffer(data, "<f4").reshape(-1, PROJECTED) for data in parts[COPIES]]
        names = np.repeat(parts["name"].to_numpy(), [len(one) for one in copies])
        return cls(vectors=np.concatenate(copies), names=tuple(names))

    def space(self, real: pd.DataFrame, made: pd.DataFrame) -> Space:
        """Where a release's volumes and held-out people lie among the copies.

        Args:
            real, made: rows of `Instruments`, of the real people and of the release.
        """
        held_out = real[real["group"] == HELD_OUT]
        one, other = LATENTS
        return Space(
            name="latents",
            training=self.vectors,
            held_out=arrays(held_out[one], "<f4"),
            synthetic=arrays(made[one], "<f4"),
            held_out_mirrored=arrays(held_out[other], "<f4"),
            synthetic_mirrored=arrays(made[other], "<f4"),
            persons=tuple(person_of(name) for name in self.names),
        )


def latents_of(source: str, cohort: PreparedCohort) -> EncodedCohort:
    """The encoded cohort of `--latents`, which must be that of `--real`.

    Raises:
        JobError: no whole latents there, or those of another cohort.
    """
    found = EncodedCohort.open(source)
    if found.cohort != cohort.fingerprint:
        raise JobError(
            f"--latents {source} are of another cohort than --real {cohort.where}: expected those "
            "that encode-latents made of it, which the model was trained on"
        )
    return found
