"""The encoder that Ray Data keeps in each of its actors, and what makes copies ahead of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch

from ldm.networks import channels_last
from ldm.networks.precision import PRECISIONS, autocast, resolve
from ldm.volumes.conversion import quantise, read_volume
from ldm.volumes.quality import FIGURES, measure
from ray_jobs.encoding.autoencoder_folder import open_run
from ray_jobs.encoding.copier import Copier
from ray_jobs.encoding.latents import factor_column
from ray_jobs.files import read_json, write_array, write_json
from ray_jobs.preparation.bucket import volume_at
from ray_jobs.work_folder import WorkFolder

COPIES, FACTORS = "copies", "factors"  # what `CopyMaker` adds to a subject's row


class CopyMaker:
    """Makes a subject's copies on a CPU, ahead of an encoder that holds a GPU.

    Of a subject whose latents are there it makes none.
    """

    def __init__(self, out: WorkFolder, cohort: str, copies: int, deform: bool) -> None:
        torch.set_num_threads(1)
        self._out, self._cohort, self._deform = out, cohort, deform
        self._copier = Copier(open_run(self._out).grid, copies, deform)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds the copies, as the bytes of an `.npy` file, and their factors, as JSON; both empty
        where latents are there."""
        data, factors = io.BytesIO(), ""
        if _kept(self._out, row["latent"], self._deform) is None:
            volumes, found = self._copier.copies(_volume(self._cohort, row))
            np.save(data, np.stack(volumes))
            factors = json.dumps(found)
        return {**row, COPIES: data.getvalue(), FACTORS: factors}


class Encoder:
    """Encodes one subject a call and writes its latents; what is there already is kept.

    It makes the copies itself of a row that no `CopyMaker` has seen.
    """

    def __init__(
        self, out: WorkFolder, cohort: str, copies: int, gpu: bool, deform: bool = False
    ) -> None:
        self._out, self._cohort, self._deform = out, cohort, deform
        self._device = torch.device("cuda" if gpu else "cpu")
        if not gpu:
            torch.set_num_threads(1)
        trained = open_run(self._out)
        self._network = trained.network().to(self._device)
        self._copier = Copier(trained.grid, copies, deform)
        channels_last(self._network)
        self._dtype = PRECISIONS[resolve("auto", self._device.type)]

    @torch.inference_mode()
    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds `sums` (2, C): of the mean and of its square over the first copy's voxels, and
        the quality figures of the first copy's reconstruction."""
        key = row["latent"]
        encoded = _kept(self._out, key, self._deform)
        if encoded is None:
            volumes, factors = self._copies(row)
            encoded = self._encode(volumes)
            self._write(key, encoded, factors)
        else:
            factors = _factors(self._out, key) if self._deform else {}
        mean = encoded[0, 0]
        second = mean**2 + np.exp(encoded[0, 1])
        sums = np.stack([mean.mean(axis=(1, 2, 3)), second.mean(axis=(1, 2, 3))])
        figures = self._figures(mean)
        return {
            "participant_id": row["participant_id"],
            "sums": sums.astype(np.float64),
            **{name: figures[name] for name in FIGURES},
            **{factor_column(name): values for name, values in factors.items()},
        }

    def _write(self, key: str, encoded: np.ndarray, factors: dict[str, list[float]]) -> None:
        path = self._out.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if factors:
            write_json(self._out.path / _factors_key(key), factors)
            self._out.put(_factors_key(key))
        write_array(path, encoded)
        self._out.put(key)

    def _copies(self, row: dict[str, Any]) -> tuple[Iterable[np.ndarray], dict[str, list[float]]]:
        if row.get(COPIES):
            return np.load(io.BytesIO(row[COPIES])), json.loads(row[FACTORS])
        return self._copier.copies(_volume(self._cohort, row))

    def _encode(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        encoded = []
        for volume in volumes:
            inputs = torch.from_numpy(volume)[None, None]
            with autocast(self._device.type, self._dtype):
                mean, std = self._network.encode(inputs.to(self._device))
            log_variance = 2 * std.float().log()
            encoded.append(torch.cat([mean.float(), log_variance]).cpu().numpy())
        # In the order in which a file is read back: sums over it then round alike.
        return np.ascontiguousarray(np.stack(encoded))

    def _figures(self, latent: np.ndarray) -> dict[str, float]:
        with autocast(self._device.type, self._dtype):
            decoded = self._network.decode(torch.from_numpy(latent)[None].to(self._device))
        return measure(quantise(decoded[0, 0].float().cpu().numpy()))


def _volume(cohort: str, row: dict[str, Any]) -> np.ndarray:
    return read_volume(volume_at(cohort, row["volume"], row["sha256"]))


def _kept(out: WorkFolder, key: str, deform: bool) -> np.ndarray | None:
    """The latents that are there already; None for none, for a file cut short, or where the
    factors of bent copies are not beside them."""
    if deform and not _factors(out, key):
        return None
    try:
        encoded: np.ndarray = np.load(out.fetch(key))
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return encoded


def _factors(out: WorkFolder, key: str) -> dict[str, list[float]]:
    return read_json(out.fetch(_factors_key(key))) or {}


def _factors_key(latent: str) -> str:
    """Beside a subject's latents: what the covariates of its deformed copies are multiplied by."""
    return str(PurePosixPath(latent).with_suffix(".json"))
