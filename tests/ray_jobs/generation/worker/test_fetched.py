"""A machine fetches a model of a bucket once, whatever number of workers it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldm.loading import load
from ldm.models.folder import describe_folder
from manifests.storage import open_store
from ray_jobs.generation.worker.fetched import fetched
from tests.ldm.tiny_model import working_model


@pytest.fixture
def uri(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    working_model(folder)
    store = open_store(f"s3://{bucket}/model")
    for path in folder.iterdir():
        store.put_file(path.name, path)
    return store.uri


def test_the_second_worker_of_a_machine_fetches_nothing(uri: str, tmp_path: Path) -> None:
    wanted = describe_folder(uri).fingerprint
    here = fetched(uri, wanted)
    assert here == str(tmp_path / "cache" / "models" / wanted)
    store = open_store(uri)
    for entry in list(store.list()):
        store.delete(entry.key)
    assert fetched(uri, wanted) == here
    assert load(here, device="cpu").fingerprint == wanted


def test_another_model_or_a_full_disk_leaves_it_to_the_bucket(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetched(uri, "0" * 64) == uri
    assert fetched("demo", "0" * 64) == "demo"
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAINPRESS_CACHE", str(tmp_path / "file"))
    assert fetched(uri, describe_folder(uri).fingerprint) == uri
