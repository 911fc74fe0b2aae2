"""Small inputs of the training line, made without Ray: a BIDS folder, a cohort, an autoencoder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from ldm.covariates import PAPER_SCHEMA, fit_schema
from ldm.networks import Autoencoder
from ldm.training.presets import tiny
from ray_jobs import cli
from ray_jobs.encoding import autoencoder_folder
from ray_jobs.encoding.autoencoder_folder import TrainedAutoencoder
from ray_jobs.encoding.encoder import Encoder
from ray_jobs.encoding.job import collect
from ray_jobs.encoding.latents import ARRAYS, EncodedCohort
from ray_jobs.preparation.bids.subjects import in_validation
from ray_jobs.preparation.cohort import VOLUMES, PreparedCohort
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.subject import prepare_subject
from ray_jobs.work_folder import WorkFolder

PRESET = tiny()
SHARE = 0.25


def people(count: int) -> dict[str, dict[str, Any]]:
    """Covariates of `count` participants, by id."""
    rng = np.random.default_rng(count)
    return {
        f"sub-{number:02d}": {
            "age": round(float(rng.uniform(20, 80)), 1),
            "sex": "FM"[number % 2],
            "ventricular_volume": round(float(rng.uniform(8e3, 6e4))),
            "brain_volume": round(float(rng.uniform(1.1e6, 1.6e6))),
        }
        for number in range(1, count + 1)
    }


def write_participants(folder: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """participants.tsv; a value of None is written as n/a."""
    table = pd.DataFrame([{"participant_id": name, **row} for name, row in rows.items()])
    table.to_csv(folder / "participants.tsv", sep="\t", index=False, na_rep="n/a")


def head(seed: int, shape: Sequence[int] = (18, 22, 18)) -> np.ndarray:
    """A smooth blob, uint8, its size a function of `seed`."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    a, b, c = 0.5 + 0.4 * np.random.default_rng(seed).random(3)
    inside = np.exp(-(((x - 0.1) / a) ** 4) - (y / b) ** 4 - (z / c) ** 4)
    return np.rint(255 * inside * (0.8 + 0.2 * np.cos(9 * x * y))).astype(np.uint8)


def image_path(folder: Path, name: str) -> Path:
    """Where a participant's image lies."""
    return folder / name / "anat" / f"{name}_T1w.nii.gz"


def write_image(path: Path, data: np.ndarray, spacing: float = 9.0) -> Path:
    """A NIfTI image, RAS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([spacing] * 3 + [1.0])), path)
    return path


def write_bids(folder: Path, count: int) -> Path:
    """A BIDS folder of `count` usable subjects."""
    folder.mkdir(parents=True)
    rows = people(count)
    write_participants(folder, rows)
    for seed, name in enumerate(rows):
        write_image(image_path(folder, name), head(seed))
    return folder


def write_prepared(folder: Path, count: int = 12, **changes: Any) -> PreparedCohort:
    """What `brainpress prepare --preset tiny` leaves, without Ray."""
    bids = write_bids(folder.with_name(f"{folder.name}-bids"), count)
    (folder / VOLUMES).mkdir(parents=True)
    rows = []
    for name, covariates in people(count).items():
        path = image_path(bids, name)
        done = prepare_subject(name, path, folder / VOLUMES, PRESET.grid, Work(placement="centre"))
        rows.append(
            {
                "participant_id": name,
                "split": "validation" if in_validation(name, SHARE) else "train",
                "volume": f"{VOLUMES}/{name}.npy",
                "sha256": done["sha256"],
                **{key: covariates[key] for key in PAPER_SCHEMA.names},
            }
        )
    table = pd.DataFrame(rows)
    parts: dict[str, Any] = {
        "folder": folder,
        "grid": PRESET.grid,
        "schema": fit_schema(PAPER_SCHEMA, table),
        "table": table,
        "source": {"kind": "bids", "name": bids.name, "license": "CC0-1.0"},
    }
    cohort = PreparedCohort(**{**parts, **changes})
    cohort.write([])
    return cohort


def ended(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a verb in this process: its exit code, what it said, what it told as errors."""
    capsys.readouterr()
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    """The one line with which a verb refuses its input."""
    found, said, told = ended(capsys, *words)
    assert (found, said) == (code, ""), told
    assert len(told.splitlines()) == 1, told
    assert told.startswith(f"brainpress {words[0]}: ")
    return told


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting Ray fails the test."""

    def session() -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray_jobs.cluster.session", session)


def write_autoencoder(run: Path, **changes: Any) -> TrainedAutoencoder:
    """What a finished `brainpress train-autoencoder --preset tiny` leaves: random weights."""
    torch.manual_seed(0)
    run.mkdir(parents=True, exist_ok=True)
    network = Autoencoder(changes.get("config", PRESET.autoencoder))
    grid = changes.get("grid", PRESET.grid)
    autoencoder_folder.trained(network, grid, {"steps": 20}, str(run)).write(run)
    return autoencoder_folder.open_run(run)


def write_line(folder: Path) -> Path:
    """A prepared cohort, an autoencoder, and the latents of the one by the other, in `folder`."""
    cohort = write_prepared(folder / "prepared")
    write_autoencoder(folder / "autoencoder")
    write_latents(folder / "latents", cohort, folder / "autoencoder")
    return folder


def write_latents(
    folder: Path,
    cohort: PreparedCohort,
    run: Path,
    *,
    copies: int = PRESET.latent_copies,
    deform: bool = False,
) -> EncodedCohort:
    """What `brainpress encode-latents --preset tiny` leaves, without Ray."""
    shutil.copytree(run / "autoencoder", folder / "autoencoder")
    (folder / ARRAYS).mkdir()
    table = cohort.table.assign(latent=[f"{ARRAYS}/{n}.npy" for n in cohort.table.participant_id])
    encoder = Encoder(WorkFolder(str(folder)), str(cohort.folder), copies, gpu=False, deform=deform)
    rows = {row["participant_id"]: encoder(row) for row in table.to_dict(orient="records")}
    command = "brainpress encode-latents"
    encoded = collect(
        rows, table, cohort, copies, WorkFolder(str(folder)), command, deformed=deform
    )
    encoded.write()
    return encoded
