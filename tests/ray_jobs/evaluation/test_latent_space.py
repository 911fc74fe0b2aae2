"""The audit's space of latents: volumes beside every copy that a model's training was shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ldm import noise
from ldm.evaluation.features import mirror
from ldm.evaluation.privacy.audit import audit
from ldm.volumes.conversion import read_volume
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.evaluation.measuring.latent_space import (
    COPIES,
    LATENTS,
    PROJECTED,
    CopyReader,
    LatentMeter,
    Projection,
    Shown,
    latents_of,
)
from ray_jobs.evaluation.measuring.measured import HELD_OUT, TRAIN
from ray_jobs.evaluation.measuring.tables import blocks
from ray_jobs.preparation.cohort import PreparedCohort
from tests.ray_jobs.line import write_autoencoder, write_latents, write_prepared

SUBJECTS, MADE = 60, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cohort, encoded with three copies of each."""
    found = tmp_path_factory.mktemp("latents")
    cohort = write_prepared(found / "prepared", SUBJECTS)
    write_autoencoder(found / "autoencoder")
    write_latents(found / "latents", cohort, found / "autoencoder", copies=3)
    return found


@pytest.fixture(scope="module")
def shown(folder: Path) -> Shown:
    """Every copy, read in two blocks."""
    count = len(EncodedCohort.open(folder / "latents").split(TRAIN))
    reader = CopyReader(str(folder / "latents"), str(folder / "report"))
    for block in blocks(folder / "report", COPIES, count):
        reader(block)
    assert not list(blocks(folder / "report", COPIES, count))
    return Shown.read(folder / "report", count)


def measured(volumes: list[np.ndarray], group: str, folder: Path) -> pd.DataFrame:
    meter = LatentMeter(str(folder / "latents"))
    return pd.DataFrame([{"group": group, **meter(volume)} for volume in volumes])


def of_split(folder: Path, split: str) -> list[np.ndarray]:
    cohort = PreparedCohort.open(folder / "prepared")
    return [read_volume(path) for path in cohort.volumes(split)]


def test_every_copy_of_every_training_subject_is_there(folder: Path, shown: Shown) -> None:
    trained = EncodedCohort.open(folder / "latents").split(TRAIN)["participant_id"]
    assert shown.vectors.shape == (3 * len(trained), PROJECTED)
    assert list(shown.names) == [name for name in trained for _ in range(3)]


def test_a_subjects_own_volume_lies_at_their_first_copy_and_mirrored_at_their_second(
    folder: Path, shown: Shown
) -> None:
    (row,) = measured(of_split(folder, TRAIN)[:1], TRAIN, folder).to_dict("records")
    one, other = (np.frombuffer(row[name], "<f4") for name in LATENTS)
    for vector, place in ((one, 0), (other, 1)):
        apart = np.linalg.norm(shown.vectors - vector, axis=1)
        assert apart.argmin() == place
        assert apart[place] < 0.05 * np.median(apart)


def test_copies_of_training_subjects_are_found_and_named_and_strangers_are_not(
    folder: Path, shown: Shown
) -> None:
    real = measured(of_split(folder, HELD_OUT), HELD_OUT, folder)
    trained = of_split(folder, TRAIN)
    leaked = [mirror(volume[None])[0] for volume in trained[:MADE]]
    space = shown.space(real, measured(leaked, "", folder))
    found = audit(space)
    assert found.verdict == "failed"
    assert found.reasons[0].startswith(f"latents: {MADE} of {MADE}")
    nearest = [shown.names[near.training] for near in found.findings[0].closest]
    owners = list(dict.fromkeys(shown.names))[:MADE]
    assert set(nearest) <= set(owners)
    innocent = audit(shown.space(real, real.assign(group="")))
    assert innocent.verdict != "failed"


def test_distances_keep_their_ratios_when_projected(folder: Path) -> None:
    project = Projection(str(folder / "latents"))
    shape = np.load(next((folder / "latents").glob("latents/*.npy"))).shape[2:]
    latents = noise.generator(1).standard_normal((20, *shape)).astype(np.float32)
    found = project(latents)
    std = np.asarray(project.encoded.latent_std)[:, None, None, None]
    whole = (latents / std).reshape(20, -1)
    pairs = [(i, j) for i in range(20) for j in range(i)]
    ratios = [
        np.linalg.norm(found[i] - found[j]) / np.linalg.norm(whole[i] - whole[j]) for i, j in pairs
    ]
    assert 0.85 < min(ratios) < 1 < max(ratios) < 1.15
    np.testing.assert_array_equal(found, Projection(str(folder / "latents"))(latents))


def test_latents_of_another_cohort_are_refused(folder: Path, tmp_path: Path) -> None:
    cohort = PreparedCohort.open(folder / "prepared")
    assert latents_of(str(folder / "latents"), cohort).copies == 3
    other = write_prepared(tmp_path / "other", 8)
    with pytest.raises(JobError, match="are of another cohort than --real"):
        latents_of(str(folder / "latents"), other)
    with pytest.raises(JobError, match="holds no complete latents"):
        latents_of(str(tmp_path), cohort)
