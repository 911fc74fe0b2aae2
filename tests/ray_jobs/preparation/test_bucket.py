"""A prepared cohort in a bucket is the same cohort, and a machine fetches each volume once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import PAPER_SCHEMA
from manifests.storage import open_store
from manifests.storage.threads import in_threads
from ray_jobs.errors import JobError
from ray_jobs.files import write_array
from ray_jobs.once import once
from ray_jobs.preparation.bucket import volume_at
from ray_jobs.preparation.cohort import MARK, VOLUMES, PreparedCohort
from tests.ray_jobs.line import PRESET, people


@pytest.fixture
def cohort(tmp_path: Path) -> PreparedCohort:
    """Six people of noise, in a folder."""
    folder, rows = tmp_path / "prepared", []
    (folder / VOLUMES).mkdir(parents=True)
    for number, (name, covariates) in enumerate(people(6).items()):
        levels = np.random.default_rng(number).integers(0, 9, PRESET.grid.shape, dtype=np.uint16)
        path = f"{VOLUMES}/{name}.npy"
        write_array(folder / path, levels)
        split = "validation" if number > 3 else "train"
        sha256 = hashlib.sha256(levels.tobytes()).hexdigest()
        row = {"participant_id": name, "split": split, "volume": path, "sha256": sha256}
        rows.append({**row, **covariates})
    made = PreparedCohort(
        folder=folder, grid=PRESET.grid, schema=PAPER_SCHEMA, table=pd.DataFrame(rows), source={}
    )
    made.write([])
    return made


@pytest.fixture
def uri(
    cohort: PreparedCohort, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The same in a bucket."""
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "cache"))
    store = open_store(f"s3://{bucket}/prepared")
    for path in cohort.folder.rglob("*"):
        if path.is_file():
            store.put_file(path.relative_to(cohort.folder).as_posix(), path)
    return store.uri


def test_a_cohort_in_a_bucket_is_the_one_that_was_put_there(
    cohort: PreparedCohort, uri: str, tmp_path: Path
) -> None:
    found = PreparedCohort.open(uri)
    assert found.fingerprint == cohort.fingerprint
    assert found.where == uri
    assert not (tmp_path / "cache").exists(), "opening it fetched volumes"
    for here, there in zip(found.volumes("train"), cohort.volumes("train"), strict=True):
        assert here.read_bytes() == there.read_bytes()
        assert here.is_relative_to(tmp_path / "cache")
    row = cohort.split("validation").loc[0]
    one = volume_at(uri, row["volume"], row["sha256"])
    assert one.read_bytes() == volume_at(cohort.where, row["volume"], row["sha256"]).read_bytes()


def test_what_a_machine_has_fetched_it_does_not_fetch_again(uri: str) -> None:
    before = PreparedCohort.open(uri).volumes("train")
    store = open_store(uri)
    for entry in list(store.list(f"{VOLUMES}/")):
        store.put(entry.key, b"x" * entry.size)
    assert PreparedCohort.open(uri).volumes("train") == before
    with pytest.raises(JobError, match="is not the volume that its table names"):
        PreparedCohort.open(uri).volumes("validation")


def test_what_a_bucket_lacks_is_told_as_of_a_folder(uri: str) -> None:
    store = open_store(uri)
    store.delete(f"{VOLUMES}/sub-02.npy")
    with pytest.raises(JobError, match=f"{uri}/{VOLUMES}/sub-02.npy is missing or cut short"):
        PreparedCohort.open(uri)
    store.delete(MARK)
    with pytest.raises(JobError, match=f"{uri} holds no complete prepared cohort"):
        PreparedCohort.open(uri)


def test_many_who_ask_for_a_file_at_once_have_it_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"whole")

    paths = in_threads(lambda _: once(tmp_path / "a" / "file", make), range(16))
    assert len(made) == 1
    assert {path.read_bytes() for path in paths} == {b"whole"}


def test_a_maker_that_fails_leaves_nothing_and_the_next_makes_it(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        once(tmp_path / "file", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert once(tmp_path / "file", lambda path: path.touch()).exists()
