"""Networks of others, by whose features volumes are compared too: their files, and their actor."""

from __future__ import annotations

import argparse
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.evaluation.measuring.tables import write_part
from ray_jobs.evaluation.sources import Source

# By option and column: what tables call them.
NETWORKS = {"medicalnet": "MedicalNet", "radimagenet": "RadImageNet"}
AT_ONCE = {"cpu": 1, "cuda": 4}  # volumes a forward pass: a head of 1 mm has 5.7 million voxels
_PIN = "#sha256="


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights.

    Attributes:
        network: of which, a key of `NETWORKS`.
        path: absolute.
        sha256: of the file, hexadecimal.
    """

    network: str
    path: str
    sha256: str

    def told(self) -> dict[str, str]:
        """For the findings."""
        return {"file": Path(self.path).name, "sha256": self.sha256}


def asked(args: argparse.Namespace) -> list[Weights]:
    """The files that the options name, each as FILE or FILE#sha256=HEX.

    Raises:
        JobError: no such file, or another than was meant.
    """
    found = []
    for network in NETWORKS:
        value = getattr(args, network)
        if value is None:
            continue
        name, _, pinned = value.partition(_PIN)
        path = Path(name)
        if not path.is_file():
            raise JobError(f"--{network} {name}: no such file")
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if _PIN in value and pinned.lower() != sha256:
            raise JobError(
                f"--{network} {name}: its sha256 is {sha256}, expected {pinned or 'none at all'}; "
                "another file, or one that was cut short: fetch it again"
            )
        found.append(Weights(network=network, path=str(path.absolute()), sha256=sha256))
    return found


class NetworkFeatures:
    """A network's features of a block of volumes a call, on a GPU where it is given one.

    Args:
        sources: by label.
        out: the evaluation's folder.
        weights: of the network.
        device: "cpu" or "cuda".
    """

    def __init__(self, sources: dict[str, Source], out: str, weights: Weights, device: str) -> None:
        import torch

        from ldm.evaluation import features

        torch.set_num_threads(1)
        self._sources, self._out, self._column = sources, Path(out), weights.network
        make = getattr(features, NETWORKS[weights.network])
        self._network = make(Path(weights.path), device)
        self._at_once = AT_ONCE[device]

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Write part `number` of the features of `source`: items `start` to `stop`."""
        source = self._sources[block["of"]]
        items = source.items[block["start"] : block["stop"]]
        rows: list[dict[str, Any]] = [{self._column: b""} for _ in items]
        volumes = {}
        for place, item in enumerate(items):
            with suppress(LdmError):  # of one that cannot be read nothing else is measured either
                volumes[place] = source.read(item)
            if len(volumes) == self._at_once or (volumes and place == len(items) - 1):
                found = self._network.features(np.stack(list(volumes.values())))
                for one, features in zip(volumes, found, strict=True):
                    rows[one] = {self._column: features.astype(np.float32).tobytes()}
                volumes = {}
        write_part(self._out, block["source"], block["number"], rows)
        return {"rows": len(rows)}


def features_of(label: str, network: str) -> str:
    """The kind of parts that hold a source's features by a network."""
    return f"{label}-{network}"
