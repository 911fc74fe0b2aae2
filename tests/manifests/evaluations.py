"""Evaluations for the tests: the folder that `evaluate` writes, with figures that are made up."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from manifests.digests import sha256
from manifests.format.evaluation import PASSED, Evaluation, Figure
from manifests.format.json_text import json_bytes
from manifests.format.layout import MEASURED_KEY, participant_id
from manifests.format.measured import MEASURES, PREFIX, measured_table
from manifests.format.parquet import parquet_bytes
from manifests.publish.evaluation import IMAGES_KEY, images_file
from manifests.query.release import Release

FIGURES = (
    Figure(name="ventricles, correlation", value=0.951, low=0.94, high=0.962, n=6),
    Figure(name="share <script>", value=0.5, n=6),
)
WHY = "images: 1 of 6 synthetic volumes are near-copies of a training subject"


def picture_bytes(name: str) -> bytes:
    return b"\x89PNG" + f"a picture of heads, {name}".encode() * 20


def measured_rows(indices: range | list[int], *, refused: tuple[int, ...] = ()) -> list[Any]:
    rows = []
    for index in indices:
        rng = np.random.default_rng(index)
        row = {PREFIX + m.name: float(rng.uniform(0, 1e5)) for m in MEASURES}
        error = "no brain" if index in refused else ""
        rows.append({"index": index, "participant_id": participant_id(index), "error": error} | row)
    return rows


def evaluation(release: Release, **changes: Any) -> Evaluation:
    counts = release.about["counts"]
    fields: dict[str, Any] = {
        "sha256": "0" * 64,
        "samples": counts["samples"],
        "images": counts["ok"],
        "measured": counts["ok"],
        "refused": 0,
        "reference": 75,
        "figures": FIGURES,
        "verdict": PASSED,
        "reasons": (),
        "rule": "no synthetic volume is a near-copy",
    }
    return Evaluation(**{**fields, **changes})


def evaluate(
    folder: Path,
    uri: str | Path,
    *,
    verdict: str = PASSED,
    refused: tuple[int, ...] = (),
    limit: int | None = None,
    report: str = "report",
    pictures: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
    **changes: Any,
) -> Path:
    """What `brainpress evaluate` leaves of the first `limit` images of the release.

    Args:
        pictures: names of pictures of its report, and whom each shows; None: it does not tell.
    """
    release = Release.open(uri)
    images = release.query("status = 'ok'", columns=["index", "sha256"]).slice(0, limit)
    indices = images["index"].to_pylist()
    seen = dict(zip(indices, images["sha256"].to_pylist(), strict=True))
    why = {} if verdict == PASSED else {"verdict": verdict, "reasons": (WHY,)}
    counts = {"measured": len(indices) - len(refused), "refused": len(refused)}
    told = evaluation(release, **counts, **why).to_json()
    told.pop("sha256")
    about: dict[str, Any] = {
        "format": "brainpress-evaluation",
        "version": 1,
        "release": {"label": "r", "fingerprint": release.about["fingerprint"], "evaluation": told},
        **changes,
    }
    told_of = {name: list(ids) for name, ids in pictures.items() if ids is not None}
    if told_of:
        about["pictured"] = {"privacy.png": [], **told_of}
    shown = {name: picture_bytes(name) for name in pictures}
    figures = "".join(
        f'<figure><img alt="x" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{name}</figcaption></figure>"
        for name, data in shown.items()
    )
    links = "".join(f"\n\n![x]({name})\n\n{name}" for name in shown)
    files = {
        **{f"public/{name}": data for name, data in shown.items()},
        IMAGES_KEY: images_file(seen),
        MEASURED_KEY: parquet_bytes(measured_table(measured_rows(indices, refused=refused))),
        "public/report.html": f"<!doctype html><title>{report}</title>{figures}".encode(),
        "public/report.md": f"{report}{links}".encode(),
        "public/privacy.png": b"\x89PNG",
        "public/evaluation.json": json_bytes(about),
    }
    (folder / "public").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digests = {name: sha256(data) for name, data in files.items()}
    (folder / "evaluation.json").write_bytes(json_bytes({"files": digests, **about}))
    (folder / "volumes.png").write_bytes(b"real people")
    return folder
